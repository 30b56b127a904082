"""Adapters: small trainable weights beside a frozen layer, with a task axis. `adapter: lora` in a recipe."""

from collections.abc import Callable

from ..core.bases import Adapter
from .bottleneck import bottleneck
from .full import full
from .lora import lora
from .prefix import prefix
from .prompt import prompt

KINDS: dict[str, Callable[..., Adapter]] = {
    "lora": lora,
    "bottleneck": bottleneck,
    "full": full,
    "prompt": prompt,
    "prefix": prefix,
}

"""Adapters: what is added to a frozen layer, with a task axis. `adapter: lora` in a recipe."""

from collections.abc import Callable
from typing import Any

from .bottleneck import bottleneck
from .lora import lora

KINDS: dict[str, Callable[..., Any]] = {"lora": lora, "bottleneck": bottleneck}

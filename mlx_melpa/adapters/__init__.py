"""Adapters: what is added to a frozen layer, with a task axis. `adapter: lora` in a recipe."""

from .bottleneck import bottleneck
from .lora import lora

KINDS = {"lora": lora, "bottleneck": bottleneck}

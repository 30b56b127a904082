"""Methods that a run is compared with, by name."""

from collections.abc import Callable
from typing import Any

METHODS = {
    "base": "base",
    "prototypes": "prototypes on frozen features",
    "logistic_regression": "logistic regression on frozen features",
    "in_context": "examples in context",
    "random_start": "random start",
    "meta": "meta-learned",
}
"""All methods, and what people call them."""
USUAL = tuple(name for name in METHODS if name != "in_context")
"""Examples in context are long to read, and their number is tuned: they are measured where they are asked for."""
Advance = Callable[..., None]
Result = dict[str, Any]

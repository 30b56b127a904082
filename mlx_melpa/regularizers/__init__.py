"""Regularizers: penalties on a row in the inner loss. `regularizer: l2` in a recipe."""

from collections.abc import Callable

from ..core.protocols import Regularizer
from .ewc import ewc
from .l2 import l2
from .lwf import lwf
from .none import none

KINDS: dict[str, Callable[..., Regularizer]] = {"none": none, "l2": l2, "ewc": ewc, "lwf": lwf}

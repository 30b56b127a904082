"""Samplers: choose the tasks of an iteration of meta-training. `sampler: curriculum` in a recipe."""

from collections.abc import Callable

from ..core.protocols import Sampler
from .curriculum import curriculum
from .uniform import uniform

KINDS: dict[str, Callable[..., Sampler]] = {"uniform": uniform, "curriculum": curriculum}

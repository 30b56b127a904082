"""Samplers: which tasks an iteration of meta-training sees. `sampler: curriculum` in a recipe."""

from .curriculum import curriculum
from .uniform import uniform

KINDS = {"uniform": uniform, "curriculum": curriculum}

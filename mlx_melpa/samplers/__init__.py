"""Samplers: which tasks an iteration of meta-training sees."""

from .uniform import uniform

KINDS = {"uniform": uniform}

"""Initializers: where a task's row starts. `initializer: universal` in a recipe."""

from .universal import universal

KINDS = {"universal": universal}

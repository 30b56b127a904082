"""Initializers: where a task's row starts. `initializer: universal` in a recipe."""

from .hypernetwork import hypernetwork
from .prototype import prototype
from .subspace import subspace
from .universal import universal

KINDS = {"universal": universal, "hypernetwork": hypernetwork, "subspace": subspace, "prototype": prototype}

"""Initializers: make the row that a task starts from. `initializer: universal` in a recipe."""

from .hypernetwork import hypernetwork
from .proto_head import proto_head
from .subspace import subspace
from .universal import universal

KINDS = {"universal": universal, "hypernetwork": hypernetwork, "subspace": subspace, "proto_head": proto_head}

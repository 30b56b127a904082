"""Nested dicts, lists and tuples of arrays."""

from collections.abc import Callable, Iterable

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map

from ...core.types import Tree


def map_tree(fn: Callable[..., mx.array], tree: Tree, *others: Tree) -> Tree:
    """Applies `fn` to the leaves of trees of one shape."""
    return tree_map(fn, tree, *others)


def flatten(tree: Tree) -> list[tuple[str, mx.array]]:
    """Lists the leaves with dotted names, in a fixed order."""
    leaves: Tree = tree_flatten(tree)
    return list(leaves)


def rebuild(like: Tree, leaves: Iterable[mx.array]) -> Tree:
    """Puts leaves, in the order of `flatten`, into the shape of a tree; empty parts stay."""
    rest = iter(leaves)

    def put(node: Tree) -> Tree:
        if isinstance(node, dict):
            return {key: put(child) for key, child in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(put(child) for child in node)
        return next(rest)

    return put(like)


def zeros_like(tree: Tree) -> Tree:
    """Zeros of the shapes of a tree."""
    return tree_map(mx.zeros_like, tree)


def add(a: Tree, b: Tree) -> Tree:
    """Sums two trees of one shape."""
    return tree_map(lambda x, y: x + y, a, b)

"""Nested dicts, lists and tuples of tensors, with the names and the order that MLX's trees have."""

from collections.abc import Callable, Iterable

import torch

from ...core.types import Tree


def map_tree(fn: Callable[..., torch.Tensor], tree: Tree, *others: Tree) -> Tree:
    """Applies `fn` to the leaves of trees of one shape."""
    if isinstance(tree, dict):
        return {key: map_tree(fn, child, *(other[key] for other in others)) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_tree(fn, *children) for children in zip(tree, *others, strict=True))
    return fn(tree, *others)


def flatten(tree: Tree) -> list[tuple[str, torch.Tensor]]:
    """Lists the leaves with dotted names, in a fixed order."""
    if isinstance(tree, dict):
        children: Iterable[tuple[str | int, Tree]] = tree.items()
    elif isinstance(tree, (list, tuple)):
        children = enumerate(tree)
    else:
        return [("", tree)]
    return [(f"{key}.{name}" if name else str(key), leaf) for key, child in children for name, leaf in flatten(child)]


def rebuild(like: Tree, leaves: Iterable[torch.Tensor]) -> Tree:
    """Puts leaves, in the order of `flatten`, into the shape of a tree; empty parts stay."""
    rest = iter(leaves)
    return map_tree(lambda _: next(rest), like)


def zeros_like(tree: Tree) -> Tree:
    """Zeros of the shapes of a tree."""
    return map_tree(torch.zeros_like, tree)


def add(a: Tree, b: Tree) -> Tree:
    """Sums two trees of one shape."""
    return map_tree(lambda x, y: x + y, a, b)

"""The places of a base model where an adapter may sit, and how settings name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Literal

from ..errors import ModelError


@dataclass(frozen=True)
class Site:
    """One module of one block: `path` inside the block, widths in numbers per token.

    `role` is "linear" for a linear layer, "attention" or "feed_forward" for a sub-block whose output can be adapted,
    "input" for what the first block reads, "cache" for a block's keys (width_in) and values (width_out) over all heads.
    `refused` says why an adapter can't sit there; empty where it can.
    """

    layer: int
    path: str
    width_in: int
    width_out: int
    role: Literal["linear", "attention", "feed_forward", "input", "cache"] = "linear"
    refused: str = ""

    @property
    def name(self) -> str:
        """The site's name in rows and files: layer and path."""
        return f"{self.layer}.{self.path}"

    def matches(self, pattern: str) -> bool:
        """True if a pattern such as `q_proj`, `mlp.*` or `*` names this site."""
        return fnmatchcase(self.path, pattern) or fnmatchcase(self.path.rsplit(".", 1)[-1], pattern)


def cache(layer: int, seen: Sequence[tuple[int, int]], passes: int, name: str) -> Site:
    """The place of a block's keys and values, whose widths were `seen` at its attention in some passes."""
    if len(seen) == passes and len(set(seen)) == 1:
        return Site(layer, "cache", *seen[0], "cache")
    why = "makes keys and values of several kinds" if seen else "shows no keys and values"
    return Site(layer, "cache", 0, 0, "cache", f"block {layer} of {name} {why}; take lora")


def _layers(layers: str | int | Sequence[int], count: int) -> set[int]:
    if layers == "all":
        return set(range(count))
    if isinstance(layers, int):
        if not 1 <= layers <= count:
            raise ModelError(
                f"adapter.layers: {layers} is not between 1 and {count}, the number of blocks of this base"
            )
        return set(range(count - layers, count))
    wrong = [n for n in layers if not isinstance(n, int) or not -count <= n < count]
    if wrong or isinstance(layers, str) or not layers:
        raise ModelError(
            f"adapter.layers: {layers!r}; give 'all', a number N for the last N blocks, or a list of 0..{count - 1}"
        )
    return {n % count for n in layers}


def select(
    sites: Sequence[Site], patterns: Sequence[str], layers: str | int | Sequence[int], roles: Sequence[str]
) -> list[Site]:
    """Picks the sites that patterns and layers name, in the model's order.

    Raises ModelError for a pattern that names nothing, or that names only what can't be adapted, with the reason.
    """
    count = 1 + max(s.layer for s in sites)
    wanted = _layers(layers, count)
    of_role = [s for s in sites if s.role in roles]
    if not of_role:
        raise ModelError(f"adapter: no {' or '.join(roles)} block of this base is known by name; adapt it with lora")
    for pattern in patterns:
        named = [s for s in of_role if s.matches(pattern)]
        if not named:
            known = sorted({s.path.rsplit(".", 1)[-1] for s in of_role})
            close = get_close_matches(pattern, known, 1)
            hint = f"; did you mean '{close[0]}'?" if close else "."
            raise ModelError(f"adapter.sites: '{pattern}' names no layer of this base{hint} It has: {', '.join(known)}")
        if all(s.refused for s in named):
            raise ModelError(f"adapter.sites: '{pattern}' can't be adapted: {named[0].refused}")
    chosen = [s for s in of_role if s.layer in wanted and not s.refused and any(s.matches(p) for p in patterns)]
    if not chosen:
        raise ModelError(f"adapter.sites: {list(patterns)} names nothing in layers {layers!r} of this base")
    return chosen

"""How settings name places of a base, and what is refused."""

import re
from collections.abc import Sequence

import pytest

from mlx_melpa.core.sites import Site, select
from mlx_melpa.errors import ModelError

REASON = "'mlp.experts.up' belongs to a mixture of experts"
SITES = [
    Site(layer, path, 8, 4, refused=REASON if "experts" in path else "")
    for layer in range(3)
    for path in ("attn.q_proj", "attn.v_proj", "mlp.up_proj", "mlp.experts.up")
] + [Site(layer, "mlp", 8, 8, "feed_forward") for layer in range(3)]


def names(patterns: Sequence[str], layers: str | int | Sequence[int] = "all") -> list[str]:
    return [site.name for site in select(SITES, patterns, layers, ("linear",))]


def test_patterns_name_a_path_or_its_last_part() -> None:
    assert names(["q_proj"]) == ["0.attn.q_proj", "1.attn.q_proj", "2.attn.q_proj"]
    assert names(["mlp.*"], 1) == ["2.mlp.up_proj"]
    assert names(["v_proj", "q_proj"], 1) == ["2.attn.q_proj", "2.attn.v_proj"]
    assert names(["*"], 1) == ["2.attn.q_proj", "2.attn.v_proj", "2.mlp.up_proj"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [("all", [0, 1, 2]), (1, [2]), (2, [1, 2]), ([0], [0]), ([-1], [2]), ([2, 0], [0, 2]), ([0, -3], [0])],
)
def test_layers(layers: str | int | list[int], expected: list[int]) -> None:
    assert names(["q_proj"], layers) == [f"{n}.attn.q_proj" for n in expected]


@pytest.mark.parametrize(
    ("patterns", "layers", "message"),
    [
        (["q_prj"], "all", "'q_prj' names no layer of this base; did you mean 'q_proj'? It has: q_proj, up, up_proj"),
        (["zzz"], "all", "'zzz' names no layer of this base. It has: q_proj"),
        (["up"], "all", f"'up' can't be adapted: {REASON}"),
        (["q_proj"], 0, "adapter.layers: 0 is not between 1 and 3"),
        (["q_proj"], 4, "adapter.layers: 4 is not between 1 and 3"),
        (["q_proj"], [3], "adapter.layers: [3]; give 'all', a number N for the last N blocks, or a list of 0..2"),
        (["q_proj"], [], "adapter.layers: []; give 'all'"),
        (["q_proj"], "last", "adapter.layers: 'last'; give 'all'"),
    ],
)
def test_what_is_refused(patterns: list[str], layers: str | int | list[int], message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        select(SITES, patterns, layers, ("linear",))


def test_a_base_without_known_blocks_names_the_other_adapter() -> None:
    with pytest.raises(ModelError, match=r"no attention or feed_forward block of this base is known by name; .*lora"):
        select([s for s in SITES if s.role == "linear"], ["*"], "all", ("attention", "feed_forward"))

"""A hypernetwork's scales of sites and masks of ranks, against their formulas."""

from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.errors import RecipeError
from mlx_melpa.initializers import KINDS

WIDTH = 7
CONTEXT = np.random.default_rng(0).standard_normal((3, 4, WIDTH))
PRESENT = np.array([[1.0] * 4, [0, 1, 1, 1], [0] * 4])
"""The last task has nothing to be looked at."""


class Problem:
    """Two sites of LoRA of rank 2, and a head."""

    layout = Layout(
        [
            *(Segment("0.q.lora_a", (3, 2), 0.3), Segment("0.q.lora_b", (2, 4), 0.3)),
            *(Segment("2.v.lora_a", (5, 2), 0.3), Segment("2.v.lora_b", (2, 3), 0.3)),
            Segment("readout.scale", (1,), ("constant", 2.0)),
        ]
    )

    def encode(self, context: str) -> int:
        return WIDTH


def built(problem: Any = None, form: str = "whole", **settings: Any) -> Any:
    sizes = {"embedding": 5, "hidden": 4, "chunk": 3, "place": 6}
    return KINDS["hypernetwork"](ops, problem or Problem(), form=form, **sizes, **settings)


def moved(maker: Any) -> Any:
    rng = np.random.default_rng(1)
    start = maker.init(rng, Problem.layout.draw(rng))
    return ops.map_tree(lambda x: x + 0.5 * ops.array(rng.standard_normal(x.shape)), start)


def made(maker: Any, meta: Any) -> np.ndarray:
    return ops.numpy(
        maker.make({"initializer": meta}, {"context": ops.array(CONTEXT), "present": ops.array(PRESENT)}, 3)
    )


@pytest.mark.parametrize("form", ["whole", "chunked"])
def test_what_is_written_at_a_site_is_multiplied_by_its_scale(form: str) -> None:
    maker, plain = built(form=form, scales=True), built(form=form)
    meta = moved(maker)
    rows, start = made(maker, meta), ops.numpy(meta["start"])
    written = made(plain, meta) - start
    scale = ops.numpy(meta["scales"]["scale"])
    assert scale.shape == (3,)
    each = np.repeat([scale[0], scale[1], scale[2]], [6 + 8, 10 + 6, 1])
    np.testing.assert_allclose(rows, start + written * each, rtol=1e-4, atol=1e-6)
    assert np.abs(rows[:2] - start - written[:2]).max() > 1e-2
    np.testing.assert_array_equal(rows[2], start)
    ones = {
        **meta,
        "scales": maker.init(np.random.default_rng(0), Problem.layout.draw(np.random.default_rng(0)))["scales"],
    }
    np.testing.assert_array_equal(made(maker, ones), made(plain, meta))


@pytest.mark.parametrize("form", ["whole", "chunked"])
def test_each_rank_of_ones_own_sites_is_masked_as_the_task_says(form: str) -> None:
    maker, plain = built(form=form, ranks=True), built(form=form)
    meta = moved(maker)
    rows, unmasked = made(maker, meta), made(plain, meta)
    embedding = ops.numpy(maker.encoder.embed(meta["encoder"], ops.array(CONTEXT), ops.array(PRESENT)))
    m = 1 / (1 + np.exp(-(embedding @ ops.numpy(meta["ranks"]["enter"]) + ops.numpy(meta["ranks"]["bias"]))))
    assert m.shape == (3, 4)
    for t in range(2):
        for name, value in Problem.layout.views(rows[t]).items():
            wanted = Problem.layout.views(unmasked[t])[name]
            mask = {"0.q.lora_b": m[t, :2, None], "2.v.lora_b": m[t, 2:, None]}.get(name, 1.0)
            np.testing.assert_allclose(value, mask * wanted, rtol=1e-4, atol=1e-6)
    assert np.abs(m[0] - m[1]).max() > 1e-3
    np.testing.assert_array_equal(rows[2], ops.numpy(meta["start"]))


def test_masks_begin_near_one_and_all_counts_for_the_budget() -> None:
    maker = built(scales=True, ranks=True)
    meta = maker.init(np.random.default_rng(0), Problem.layout.draw(np.random.default_rng(0)))
    before, start = made(maker, meta), ops.numpy(meta["start"])
    for name, value in Problem.layout.views(before[0]).items():
        near = 1 / (1 + np.exp(-4)) if name in ("0.q.lora_b", "2.v.lora_b") else 1
        np.testing.assert_allclose(value, near * Problem.layout.views(start)[name], rtol=1e-5)
    assert maker.size == built().size + 3 + 5 * 4 + 4
    assert maker.size == sum(ops.numpy(x).size for name, x in ops.flatten(meta) if name != "start")


def test_a_row_without_ranks_has_none_to_mask() -> None:
    problem = Problem()
    problem.layout = Layout([Segment("0.weight", (3, 2)), Segment("0.bias", (3,))])
    with pytest.raises(
        RecipeError, match=r"initializer.ranks masks LoRA's ranks, and a row has none here; set adapter"
    ):
        built(problem, ranks=True)
    assert built(problem, scales=True).scales.shapes == {"scale": (1,)}

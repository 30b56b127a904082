"""What holds for every adapter on every base."""

from collections.abc import Callable
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base

Put = Callable[..., Adapted]
TOKENS = mx.array(np.random.default_rng(1).integers(1, 90, (4, 7)))
INDEX = mx.arange(28)


def rows(adapted: Adapted, tasks: int, seed: int = 0) -> mx.array:
    """Rows away from the start, where every weight acts."""
    rng = np.random.default_rng(seed)
    return mx.array(rng.normal(0, 0.1, (tasks, adapted.layout.size)).astype(np.float32))


def logits(adapted: Adapted, values: mx.array, tokens: mx.array = TOKENS) -> np.ndarray:
    return np.array(adapted.logits(values, tokens, mx.arange(tokens.size)))


def test_a_random_start_is_the_identity_but_for_a_prompt_and_a_prefix(base: Base, put: Put, kind: str) -> None:
    before = np.array(base.logits(TOKENS, INDEX))
    adapted = put()
    starts = np.stack([adapted.layout.draw(np.random.default_rng(i)) for i in range(2)])
    assert (np.abs(starts).max() > 0) == (kind != "full")
    # Nothing before a text leaves it as it was (Lester et al. 2021, Li and Liang 2021).
    assert np.array_equal(logits(adapted, mx.array(starts)), before) == (kind not in ("prompt", "prefix"))


def test_every_site_changes_the_logits(put: Put) -> None:
    adapted = put()
    still = logits(adapted, mx.zeros((1, adapted.layout.size)), TOKENS[:1])
    moved = rows(adapted, 1)
    dead = []
    for site in adapted.sites:
        own = [s.name.startswith(f"{site.name}.") for s in adapted.layout.segments]
        mask = np.concatenate([np.full(s.size, on) for s, on in zip(adapted.layout.segments, own, strict=True)])
        if not np.abs(logits(adapted, moved * mx.array(mask), TOKENS[:1]) - still).max() > 0:
            dead.append(site.name)
    assert dead == []


def test_the_frozen_prefix_is_bit_equal_and_never_runs_again(base: Base, put: Put, kind: str) -> None:
    count = len(base.blocks)
    adapted = put(layers=count - count // 2)
    if kind == "prompt":
        assert adapted.frozen_blocks == 0
        return
    # A prefix finds keys and values in every other block of qwen3_next alone.
    assert adapted.frozen_blocks == min(site.layer for site in adapted.sites) >= count // 2
    assert kind == "prefix" or adapted.frozen_blocks == count // 2
    values = rows(adapted, 2)
    start = adapted.frozen_states(TOKENS)[1]
    assert start is not None
    whole = np.array(adapted.hidden(values, TOKENS))
    mx.eval(start)
    assert np.array_equal(np.array(adapted.hidden(values, TOKENS, start)), whole)
    below = base.blocks[: adapted.frozen_blocks]
    kept = [block.parameters() for block in below]
    for block, weights in zip(below, kept, strict=True):
        block.update(ops.map_tree(lambda w: w * float("nan") if w.dtype == mx.float32 else w, weights))
    try:
        assert np.isnan(np.array(adapted.hidden(values, TOKENS))).any()
        assert np.array_equal(np.array(adapted.hidden(values, TOKENS, start)), whole)
    finally:
        for block, weights in zip(below, kept, strict=True):
            block.update(weights)
    assert np.array_equal(np.array(adapted.hidden(values, TOKENS)), whole)


def test_rows_never_mix(put: Put) -> None:
    adapted = put()
    values = rows(adapted, 2)
    both = logits(adapted, values).reshape(2, 14, -1)
    other = mx.concatenate([values[:1], 2 * values[1:]])
    changed = logits(adapted, other).reshape(2, 14, -1)
    assert np.array_equal(changed[0], both[0])
    assert np.abs(changed[1] - both[1]).max() > 0
    for task in range(2):
        alone = logits(adapted, values[task : task + 1], TOKENS[2 * task : 2 * task + 2])
        assert np.abs(alone - both[task]).max() <= 1e-5 * max(1, np.abs(both).max())


def test_a_row_and_its_weights_are_the_same_numbers(put: Put) -> None:
    adapted = put()
    row = np.array(rows(adapted, 1)[0])
    weights = adapted.layout.views(row)
    assert np.array_equal(adapted.layout.row(weights), row)
    bound = adapted.layout.weights(ops, mx.array(row[None]))
    for segment, weight in zip(adapted.layout.segments, bound.values(), strict=True):
        assert np.array_equal(np.array(weight[0]), weights[segment.name])


def test_the_gradient_reaches_every_weight(put: Put) -> None:
    adapted = put()

    def loss(values: mx.array) -> mx.array:
        z = adapted.logits(values, TOKENS[:2], INDEX[:14])
        return (mx.logsumexp(z, axis=-1) - z[:, 3]).mean()

    grad = np.array(mx.grad(loss)(rows(adapted, 1)))[0]
    assert np.isfinite(grad).all()
    ends = pairwise(adapted.layout.offsets)
    silent = [s.name for s, (a, b) in zip(adapted.layout.segments, ends, strict=True) if not np.any(grad[a:b])]
    assert silent == []


def test_the_second_derivative_is_finite(put: Put) -> None:
    adapted = put(layers=1)

    def loss(values: mx.array) -> mx.array:
        z = adapted.logits(values, TOKENS[:2], INDEX[:14])
        return (mx.logsumexp(z, axis=-1) - z[:, 3]).mean()

    curve = np.array(mx.grad(lambda v: (mx.grad(loss)(v) ** 2).sum())(rows(adapted, 1)))
    assert np.isfinite(curve).all() and np.abs(curve).max() > 0


def test_detach_leaves_the_base_as_it_was(base: Base, put: Put) -> None:
    before = [(path, type(m).__name__) for path, m in base.model.named_modules()]
    adapted = put(layers=1)
    assert [(path, type(m).__name__) for path, m in base.model.named_modules()] != before
    adapted.detach()
    assert [(path, type(m).__name__) for path, m in base.model.named_modules()] == before
    adapted.detach()


@pytest.mark.parametrize("tasks", [1, 2])
def test_nothing_stays_bound(base: Base, put: Put, tasks: int) -> None:
    adapted = put()
    before = np.array(base.logits(TOKENS, INDEX))
    logits(adapted, rows(adapted, tasks))
    assert np.array_equal(np.array(base.logits(TOKENS, INDEX)), before)

"""Regularizers against closed forms: the minimum of loss and penalty, the Fisher over tasks, and a contract."""

from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.errors import RecipeError
from mlx_melpa.initializers import universal
from mlx_melpa.regularizers import KINDS
from mlx_melpa.rules import sgd

RNG = np.random.default_rng(0)
SIZE, CURVED = 6, np.array([0.5, 1.0, 2.0, 0.1, 3.0, 1.5], np.float32)


class Quadratic:
    """The mean over a task's examples c of 1/2 sum_i h_i (x_i - c_i)^2."""

    layout = Layout([Segment("own", (SIZE,))])

    def losses(self, rows: Any, batch: Any, shared: Any) -> Any:
        away = rows.reshape(rows.shape[0], 1, -1) - batch["centers"]
        return 0.5 * (ops.array(CURVED) * away * away).sum(-1).mean(-1)

    def drift(self, rows: Any, before: Any, batch: Any, shared: Any) -> Any:
        return 0.5 * ((rows - before) * (rows - before)).sum(-1)


def task(*centers: np.ndarray) -> dict[str, Any]:
    """One task of these examples."""
    return {"centers": ops.array(np.stack(centers)[None]), "weights": ops.ones((1, len(centers)))}


def apart(*centers: np.ndarray) -> dict[str, Any]:
    """A task for each of these examples."""
    return {"centers": ops.array(np.stack(centers)[:, None]), "weights": ops.ones((len(centers), 1))}


def parts(regularizer: Any) -> tuple[Components, dict[str, Any]]:
    problem: Any = Quadratic()
    found = Components(ops, problem, universal(ops), sgd(ops, problem.layout, lr=0.3), regularizer)
    return found, {"problem": {}, "rule": {}, "regularizer": regularizer.init(problem.layout)}


def row(values: np.ndarray) -> Any:
    return ops.array(values.astype(np.float32)[None])


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("learn", [False, True])
def test_a_first_task_ends_at_the_closed_minimum(learn: bool) -> None:
    start, center = drawn(SIZE), drawn(SIZE)
    for regularizer, pull in (
        (KINDS["l2"](ops, strength=0.7, learn=learn), 0.7),
        (KINDS["l2"](ops, strength=0.7, learn=learn, each=learn), 0.7),
        (KINDS["ewc"](ops, strength=0.35, prior=2.0, learn=learn), 0.7),
        (KINDS["lwf"](ops, strength=0.7, learn=learn), 0.7),
    ):
        built, theta = parts(regularizer)
        end = adapt.adapt(built, theta, task(center), 400, state=adapt.resume(built, row(start)))
        wanted = (CURVED * center + pull * start) / (CURVED + pull)
        np.testing.assert_allclose(ops.numpy(end["rows"])[0], wanted, atol=1e-4)


def test_ewc_carries_the_decayed_fisher_and_its_second_task_ends_at_the_closed_minimum() -> None:
    built, theta = parts(KINDS["ewc"](ops, strength=0.8, decay=0.6, prior=0.1))
    first, second = drawn(5, SIZE), drawn(3, SIZE)
    state = adapt.adapt(built, theta, task(*first), 5, state=adapt.resume(built, row(drawn(SIZE))))
    ended = ops.numpy(state["rows"])[0]
    carried = adapt.end(built, theta, state, lambda: [apart(*first[:2]), apart(*first[2:])])
    squares = ((CURVED * (ended - first)) ** 2).mean(0)
    fisher = squares / squares.mean()
    np.testing.assert_allclose(ops.numpy(carried["root"])[0] ** 2, fisher, rtol=1e-4)

    state = adapt.adapt(built, theta, task(*second), 400, state=adapt.resume(built, state["rows"], carried))
    pull = 0.8 * (fisher + 0.1)
    wanted = (CURVED * second.mean(0) + pull * ended) / (CURVED + pull)
    np.testing.assert_allclose(ops.numpy(state["rows"])[0], wanted, atol=1e-4)

    again = adapt.end(built, theta, state, lambda: [apart(*second)])
    squares = ((CURVED * (wanted - second)) ** 2).mean(0)
    np.testing.assert_allclose(ops.numpy(again["root"])[0] ** 2, 0.6 * fisher + squares / squares.mean(), rtol=1e-3)


def test_a_learned_strength_and_importance_have_the_slopes_of_their_formula() -> None:
    ewc = KINDS["ewc"](ops, strength=0.8, prior=0.1, learn=True)
    start, at, importance, root = drawn(2, SIZE), drawn(2, SIZE), drawn(SIZE), drawn(2, SIZE)
    carry = ewc.begin(ops.array(start), {"root": ops.array(root)})
    meta = {"log_strength": ops.array([np.log(0.8)]), "log_importance": ops.array(importance)}

    def value(m: Any) -> Any:
        return ewc.penalty(m, carry, ops.array(at), ops.zeros_like)

    penalty, _, slope = ops.value_and_grad(lambda m: (value(m).sum(), value(m)), meta)
    each = 0.4 * np.exp(importance) * (root**2 + 0.1) * (at - start) ** 2
    assert float(penalty.item()) == pytest.approx(each.sum(), rel=1e-5)
    np.testing.assert_allclose(ops.numpy(slope["log_importance"]), each.sum(0), rtol=1e-4)
    np.testing.assert_allclose(ops.numpy(slope["log_strength"]), [each.sum()], rtol=1e-4)


def test_the_fisher_is_the_mean_of_squares_and_the_cap_holds() -> None:
    built, theta = parts(KINDS["ewc"](ops, cap=1.5))
    at, examples = drawn(SIZE), drawn(4, SIZE)
    carried = adapt.end(built, theta, adapt.resume(built, row(at)), lambda: [apart(*examples)])
    squares = ((CURVED * (at - examples)) ** 2).mean(0)
    fisher = np.minimum(squares / squares.mean(), 1.5)
    assert fisher.max() == 1.5 > fisher.min()
    np.testing.assert_allclose(ops.numpy(carried["root"])[0] ** 2, fisher, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_regularizer_holds_each_row_alone_and_asks_for_gradients_only_where_it_carries_them(kind: str) -> None:
    regularizer = KINDS[kind](ops)
    layout, asked = Layout([Segment("own", (SIZE,))]), []
    meta = regularizer.init(layout)
    assert regularizer.learnable == bool(meta)

    def squares() -> Any:
        asked.append(1)
        return ops.array(np.abs(drawn(2, SIZE)))

    start, at = ops.array(drawn(2, SIZE)), ops.array(drawn(2, SIZE))
    carried = regularizer.end(meta, regularizer.begin(start, {}), start, squares)
    assert bool(carried) == bool(asked)

    def drift(rows: Any) -> Any:
        return lambda before: ((rows - before) * (rows - before)).sum(-1)

    both = ops.numpy(regularizer.penalty(meta, regularizer.begin(start, carried), at, drift(at)))
    assert both.shape == (2,) and (both >= 0).all()
    for t in range(2):
        own = ops.map_tree(lambda x, t=t: x[t : t + 1], carried)
        mine = at[t : t + 1]
        alone = regularizer.penalty(meta, regularizer.begin(start[t : t + 1], own), mine, drift(mine))
        np.testing.assert_allclose(ops.numpy(alone)[0], both[t], rtol=1e-5)
    zero = ops.numpy(regularizer.penalty(meta, regularizer.begin(start, carried), start, drift(start)))
    np.testing.assert_array_equal(zero, [0, 0])


def test_each_number_is_held_by_its_own_strength() -> None:
    start, center, strengths = drawn(SIZE), drawn(SIZE), np.exp(0.3 * drawn(SIZE))
    regularizer = KINDS["l2"](ops, learn=True, each=True)
    found, theta = parts(regularizer)
    theta["regularizer"] = {"log_strength": ops.array(np.log(strengths))}
    end = adapt.adapt(found, theta, task(center), 200, adapt.resume(found, row(start)))
    expected = (CURVED * center + strengths * start) / (CURVED + strengths)
    assert np.abs(ops.numpy(end["rows"])[0] - expected).max() < 1e-4
    with pytest.raises(RecipeError, match="learn: true"):
        KINDS["l2"](ops, each=True)

"""Methods with a fast and a slow part: their steps on quadratic losses, in closed form; their answers, by hand."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.benchmarks.continual.methods.maml import Maml
from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Initialization, Method
from mlx_melpa.benchmarks.continual.methods.oml import Oml, fast_mask
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.initializers.universal import universal
from mlx_melpa.regularizers.none import none
from mlx_melpa.rules.sgd import sgd

LR = 0.25
CURVES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
NOW, OLD, ROW = (np.random.default_rng(i).standard_normal(5) for i in range(3))


class Quadratic:
    """loss(w) = sum_k c_k (w_k - goal_k)^2 / 2, coupled by (sum_k w_k)^2 / 2; two blocks and a readout."""

    layout = Layout([Segment("0.a", (2,)), Segment("1.a", (2,)), Segment("readout.scale", (1,))])

    def losses(self, rows: Any, batch: Any, shared: Any) -> Any:
        away = rows - batch["goal"]
        return 0.5 * (ops.array(CURVES) * away * away).sum(-1) + 0.5 * rows.sum(-1) * rows.sum(-1)


def gradient(row: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return CURVES * (row - goal) + row.sum()


def stepped(kind: type[Method]) -> np.ndarray:
    """The row after one step on a new task and a stored one, in equal shares."""
    problem: Any = Quadratic()
    parts = Components(ops, problem, universal(ops), sgd(ops, problem.layout, lr=LR), none(ops))
    setup: Any = SimpleNamespace(parts=parts, layout=problem.layout)
    theta = {"initializer": {"start": ops.array(ROW)}, "problem": {}, "rule": {}, "regularizer": {}}
    method = kind(Initialization(setup, theta), steps=1, seed=0, tasks=2, buffer=1)  # type: ignore[call-arg]
    at = adapt.resume(parts, ops.array(ROW[None]))
    batches = tuple((0.5, {"goal": ops.array(goal[None])}) for goal in (NOW, OLD))
    found = adapt.move(parts, theta, 0, at, method.gradient(parts, 0, at, batches))
    return ops.numpy(found["rows"])[0]


def test_maml_takes_the_gradient_of_all_tasks_at_the_row_one_step_ahead_on_the_new_one() -> None:
    ahead = ROW - LR * gradient(ROW, NOW)
    wanted = ROW - LR * 0.5 * (gradient(ahead, NOW) + gradient(ahead, OLD))
    assert stepped(Maml) == pytest.approx(wanted, abs=1e-5)


def test_oml_moves_fast_numbers_by_the_new_task_and_slow_ones_by_all_after_that() -> None:
    fast = np.array([0, 0, 1, 1, 1])
    assert fast_mask(Quadratic.layout).tolist() == fast.tolist()
    now = gradient(ROW, NOW)
    ahead = ROW - LR * fast * now
    later = 0.5 * (gradient(ahead, NOW) + gradient(ahead, OLD))
    assert stepped(Oml) == pytest.approx(ROW - LR * np.where(fast, now, later), abs=1e-5)


def test_the_fast_and_the_slow_part_of_lora_are_halves(built: Callable[..., Method]) -> None:
    layout = built("oml").start.layout
    fast = {name: set(part.reshape(-1).tolist()) for name, part in layout.views(fast_mask(layout)).items()}
    for name, found in fast.items():
        assert found == {0.0 if "q_proj" in name else 1.0}, name


@pytest.mark.parametrize("name", ["maml", "oml"])
def test_stored_examples_move_the_row(built: Callable[..., Method], encoded: list[EncodedTask], name: str) -> None:
    found = []
    for stored in (True, False):
        method = built(name)
        state = method.learn(method.begin(), encoded[:1])
        if not stored:
            state = type(state)(state.rows, state.labels, state.row_of, state.means)
        found.append(ops.numpy(method.learn(state, encoded[1:2]).rows))
    assert np.abs(found[0] - found[1]).max() > 1e-3

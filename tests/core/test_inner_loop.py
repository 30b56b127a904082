"""The inner loop: its order, what watches it, how it goes on, rows that never mix."""

from typing import Any

import numpy as np
from toys.parts import small

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core import inner_loop as adapt

PARTS, THETA, SUPPORT, _ = small("sgd", {"lr": 0.05}, "l2", {"strength": 0.5, "learn": False})


def rows(state: dict) -> np.ndarray:
    return ops.numpy(state["rows"])


def test_a_step_descends_on_the_loss_and_the_pull_to_the_start() -> None:
    state = adapt.begin(PARTS, THETA, SUPPORT)
    assert rows(state).shape == (2, PARTS.problem.layout.size)
    for k in range(3):

        def loss(r: Any) -> Any:
            return PARTS.problem.losses(r, SUPPORT, THETA["problem"]).sum()

        g = ops.numpy(ops.grad(loss, state["rows"])) + 0.5 * (rows(state) - ops.numpy(state["carry"]["start"]))
        wanted = rows(state) - 0.05 * g
        state = adapt.step(PARTS, THETA, k, state, SUPPORT)
        np.testing.assert_allclose(rows(state), wanted, atol=1e-5)


def test_watch_sees_every_state_and_may_end_the_loop() -> None:
    seen: list[tuple[int, np.ndarray]] = []

    def watch(k: int, state: dict) -> bool:
        seen.append((k, rows(state)))
        return k < 2

    end = adapt.adapt(PARTS, THETA, SUPPORT, 5, watch=watch)
    assert [k for k, _ in seen] == [0, 1, 2]
    np.testing.assert_array_equal(seen[-1][1], rows(end))
    np.testing.assert_array_equal(rows(adapt.adapt(PARTS, THETA, SUPPORT, 2)), rows(end))
    np.testing.assert_array_equal(rows(adapt.adapt(PARTS, THETA, SUPPORT, 0)), seen[0][1])


def test_adam_stopped_and_taken_up_ends_where_it_would_have() -> None:
    parts, theta, support, _ = small("adam", {"lr": 0.02}, "l2", {"strength": 0.5, "learn": True})
    whole = adapt.adapt(parts, theta, support, 5)
    half = adapt.adapt(parts, theta, support, 2)
    np.testing.assert_array_equal(rows(adapt.adapt(parts, theta, support, 3, half)), rows(whole))


def test_two_tasks_adapt_as_each_alone() -> None:
    both = rows(adapt.adapt(PARTS, THETA, SUPPORT, 3))
    for t in range(2):
        alone = ops.map_tree(lambda x, t=t: x[t : t + 1], SUPPORT)
        np.testing.assert_allclose(rows(adapt.adapt(PARTS, THETA, alone, 3))[0], both[t], atol=1e-6)


def test_adapting_lowers_the_support_loss() -> None:
    before = ops.numpy(PARTS.problem.losses(adapt.begin(PARTS, THETA, SUPPORT)["rows"], SUPPORT, THETA["problem"]))
    after = ops.numpy(PARTS.problem.losses(adapt.adapt(PARTS, THETA, SUPPORT, 20)["rows"], SUPPORT, THETA["problem"]))
    assert (after < before).all()
    assert after.mean() < 0.8 * before.mean()

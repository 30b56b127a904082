"""The reverse pass with terms along the way and over several tasks, against the whole loop differentiated at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toys import references as verify
from toys.parts import REGULARIZERS, RULES, small

from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.learners.backward import QueryTerm, Stage, backward, exact, first_order
from mlx_melpa.learners.objective import stages

STEPS = 3
term = QueryTerm


def whole(parts: Components, stages_: Sequence[Stage], hold: bool = False) -> Any:
    """The outer losses as one function of theta, nothing kept or cut."""

    def losses(theta: Any) -> Any:
        state, total = adapt.begin(parts, theta, stages_[0].support), 0.0
        for number, stage in enumerate(stages_):
            state = adapt.resume(parts, state["rows"]) if number else state
            for k, terms in enumerate(stage.terms):
                for weight, query, _ in terms:
                    total = total + weight * parts.problem.losses(state["rows"], query, theta["problem"])
                if k + 1 < len(stage.terms):
                    grads = adapt.gradient(parts, theta, state, stage.support)
                    state = adapt.move(parts, theta, k, state, parts.ops.stop_gradient(grads) if hold else grads)
        return total

    return losses


def assert_exact(parts: Components, theta: Any, stages_: Sequence[Stage], hold: bool = False) -> None:
    ops, losses = parts.ops, whole(parts, stages_, hold)
    wanted, _, gradient = ops.value_and_grad(lambda theta: (losses(theta).sum(), ()), theta)
    found, found_gradient = backward(parts, theta, stages_, (first_order if hold else exact)(parts, theta))
    np.testing.assert_allclose(float(found.sum()), float(wanted), rtol=1e-5)
    np.testing.assert_allclose(ops.numpy(found), ops.numpy(losses(theta)), rtol=1e-5)
    assert max(verify.difference(found_gradient, gradient, ops).values()) < 2e-5


def stream(support: Any, query: Any) -> list[Stage]:
    """Three tasks a row, the first with terms on its way too: after each task the queries of all so far."""

    def moved(batch: Any, by: float) -> Any:
        return {**batch, "y": batch["y"] + by, "x": 0.9 * batch["x"]}

    tasks = [(support, query), *((moved(support, by), moved(query, by)) for by in (0.5, -1.0))]
    stages_ = [Stage(tasks[0][0], [[term(0.3, query)], [], [term(0.0, query), term(0.5, support)], [term(1.0, query)]])]
    for t in (1, 2):
        stages_.append(Stage(tasks[t][0], [[], [], [term(0.5 + t, seen) for _, seen in tasks[: t + 1]]]))
    return stages_


@pytest.mark.parametrize("backend", ["mlx", "torch"])
@pytest.mark.parametrize("regularizer", ["none", "l2"])
@pytest.mark.parametrize("rule", ["sgd", "adam", "lslr"])
def test_a_stream_s_gradient_is_that_of_the_whole_loop(rule: str, regularizer: str, backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    parts, theta, support, query = small(rule, RULES[rule], regularizer, REGULARIZERS[regularizer], 0, backend)
    for hold in (False, True):
        assert_exact(parts, theta, stream(support, query), hold)


def test_finite_differences_of_a_stream() -> None:
    parts, theta, support, query = small("meta_sgd", {"lr": 0.05}, "l2", REGULARIZERS["l2"])
    stages_ = stream(support, query)
    losses, gradient = whole(parts, stages_), backward(parts, theta, stages_, exact(parts, theta))[1]

    def loss(theta: Any) -> float:
        return float(parts.ops.numpy(losses(theta)).astype(np.float64).sum())

    found = dict(verify.slopes(loss, theta, gradient, parts.ops, np.random.default_rng(0)))
    assert found.keys() == {"initializer.start", "rule.lr", "regularizer.log_strength"}
    assert max(found.values()) < 1e-2


def test_a_task_begins_anew_what_the_regularizer_holds_to() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "l2", {"strength": 5.0})
    one = backward(parts, theta, stages(support, query, 4), exact(parts, theta))[0]
    stages_ = [Stage(support, [(), (), ()]), *stages(support, query, 2)]
    two = backward(parts, theta, stages_, exact(parts, theta))[0]
    assert np.abs(parts.ops.numpy(one) - parts.ops.numpy(two)).max() > 1e-3


def test_a_term_of_weight_zero_is_never_computed() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "none", {})
    plain = backward(parts, theta, stages(support, query, STEPS), exact(parts, theta))
    broken: Any = {}
    same = backward(
        parts, theta, [Stage(support, [[term(0.0, broken)]] * STEPS + [[term(1.0, query)]])], exact(parts, theta)
    )
    for (_, a), (_, b) in zip(parts.ops.flatten(plain), parts.ops.flatten(same), strict=True):
        assert (parts.ops.numpy(a) == parts.ops.numpy(b)).all()
    with pytest.raises(ValueError, match="needs a term after the last step"):
        backward(parts, theta, [Stage(support, [[term(1.0, query)], []])], exact(parts, theta))


def test_memory_stays_that_of_one_step_and_one_query() -> None:
    from mlx_melpa.benchmarks.speed.fixtures import on_numbers, random_batch, random_llama, random_theta
    from mlx_melpa.pocket.fit import Size

    size = Size(vocabulary=64, width=32, layers=2, heads=2, kv_heads=2, feed_forward=64, context=64)
    setup = on_numbers(random_llama(size), {"adapter.rank": 2})
    parts, begun = setup.parts, random_theta(setup)
    ops = parts.ops
    support, query = (random_batch(setup, 2, 8, 32, seed=i) for i in range(2))

    def peak(stages_: Sequence[Stage]) -> int:
        ops.evaluate(begun, support, query)
        ops.reset_peak_memory()
        before = ops.peak_memory()
        ops.evaluate(*backward(parts, begun, stages_, exact(parts, begun)))
        return int(ops.peak_memory() - before)

    plain = peak(stages(support, query, 2))
    rows = 4 * 2 * parts.problem.layout.size
    many = peak([Stage(support, [[term(0.5, query)] * 3] * 3)] * 2)
    assert many <= 1.1 * plain + 8 * rows

"""ConPET: what a step replays, and which adapter the selector picks."""

from collections.abc import Callable

import numpy as np
import pytest

from mlx_melpa.benchmarks.continual.methods.con_pet_dynamic import ConPetDynamic
from mlx_melpa.benchmarks.continual.methods.con_pet_static import ConPetStatic
from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Method, State, weighted_losses


def test_a_step_replays_a_bounded_sample_with_a_fixed_share(
    built: Callable[..., Method], encoded: list[EncodedTask]
) -> None:
    method = built("con_pet_static", buffer=4, share=0.25)
    assert isinstance(method, ConPetStatic)
    state = method.begin()
    for one in encoded[:2]:
        state = method.learn(state, [one])
    assert [len(kept) for kept in state.examples.values()] == [4, 4]
    drawn = method.replayed(state)
    assert sum(map(len, drawn.values())) == 4 and all(set(drawn[name]) <= set(state.examples[name]) for name in drawn)
    batches = method.batches(state, encoded[2], np.random.default_rng(0))
    sizes = [int(method.ops.numpy(batch["weights"]).sum()) for _, batch in batches]
    assert sizes == [8, *map(len, drawn.values())]
    assert [share for share, _ in batches] == pytest.approx([0.75, *(0.25 * len(some) / 4 for some in drawn.values())])
    losses = [float(method.problem.losses(state.rows, batch, method.shared)[0]) for _, batch in batches]
    wanted = 0.75 * losses[0] + 0.25 * float(np.average(losses[1:], weights=sizes[1:]))
    assert float(weighted_losses(method.problem, batches, method.shared, state.rows)[0]) == pytest.approx(
        wanted, rel=1e-5
    )


def test_the_replayed_examples_are_of_all_earlier_tasks_alike(
    built: Callable[..., Method], encoded: list[EncodedTask]
) -> None:
    method = built("con_pet_static", buffer=6)
    assert isinstance(method, ConPetStatic)
    examples = {one.task.name: one.task.train for one in encoded}
    counts = dict.fromkeys(examples, 0)
    for seed in range(300):
        method.seed = seed
        for name, some in method.replayed(State(None, examples=examples)).items():
            counts[name] += len(some)
    assert sum(counts.values()) == 300 * 6
    assert all(abs(count / 300 - 2) < 0.2 for count in counts.values())


def test_the_selector_picks_the_task_of_the_nearest_class_mean(built: Callable[..., Method]) -> None:
    method = built("con_pet_dynamic")
    # Around their mean (1, 1): task a's classes lie to the right and above, task b's to the left and below.
    a, b = np.array([[3, 1], [1, 2]], np.float16), np.array([[-1, 1], [1, 0]], np.float16)
    state = State(None, statistics={"a": a, "b": b})
    texts = np.array([[1.2, 1.0], [0.9, 5.0], [0.0, 1.1], [1.1, -3.0]])
    assert method.routing(state, texts).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


def test_each_text_is_answered_by_the_row_that_is_picked(
    built: Callable[..., Method], encoded: list[EncodedTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, apart = built("con_pet_dynamic"), built("single_task")
    assert isinstance(method, ConPetDynamic)
    state, rows = method.begin(), apart.begin()
    for one in encoded[:2]:
        state, rows = method.learn(state, [one]), apart.learn(rows, [one])
    numbers = method.ops.numpy
    assert np.array_equal(numbers(state.rows), numbers(rows.rows))
    kept = [state.statistics[one.task.name] for one in encoded[:2]]
    assert method.nbytes(state) == apart.nbytes(rows) + sum(2 * found.size for found in kept)
    asked = encoded[0]
    order = numbers(asked.test["order"]).astype(int)
    picks = np.eye(2, dtype=np.float32)[np.arange(len(order)) % 2]
    monkeypatch.setattr(method, "routing", lambda state, x: picks)
    means = method.as_memory(state.means[asked.task.name])
    each = [
        numbers(method.problem.predict(state.rows[r : r + 1], {**asked.test, **means}, method.shared))[0]
        for r in range(2)
    ]
    wanted = np.stack([each[picks[i].argmax()][place] for place, i in enumerate(order)])
    assert numbers(method.predict(state, asked))[0] == pytest.approx(wanted, abs=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-4


def test_texts_of_a_task_mostly_go_to_its_own_adapter(built: Callable[..., Method], encoded: list[EncodedTask]) -> None:
    method = built("con_pet_dynamic")
    assert isinstance(method, ConPetDynamic)
    state = method.begin()
    for one in encoded:
        state = method.learn(state, [one])
    picked = [method.routing(state, method.features(one.task.test)).mean(0) for one in encoded]
    assert np.diag(np.stack(picked)).min() > 0.9

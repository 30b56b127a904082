"""Both scenarios, against answers computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Initialization, Method, encode_task
from mlx_melpa.benchmarks.continual.scenarios import class_incremental, merged, task_incremental
from mlx_melpa.benchmarks.continual.tasks import stream_of_records
from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.types import Example
from mlx_melpa.data.readers import Record
from mlx_melpa.problems.language import classified

WORDS = {"a": ("red", "blue"), "b": ("north", "south"), "c": ("red", "green")}


@pytest.fixture(params=["{kind: prototypes, metric: plain}", "{kind: labels}"])
def setup(shared: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 2, layers: 2, sites: [q_proj, v_proj]}}\n"
        f"tasks: synthetic\nreadout: {request.param}\nlearner: {{kind: fomaml, steps: 1}}\n"
    )
    made = compose(load_recipe(path))
    yield made
    made.model.detach()


@pytest.fixture
def encoded(setup: Setup) -> list[EncodedTask]:
    records = [
        Record(Example(f"the {word} thing {i}", label=word), task)
        for task, words in WORDS.items()
        for word in words
        for i in range(12)
    ]
    stream = stream_of_records(records, shots=3, queries=3)
    return [encode_task(setup.parts, stream.task(name, 0)) for name in stream.order(0)]


def method(setup: Setup, name: str = "naive") -> Method:
    baseline = setup.random_start(0.01)
    return KINDS[name](Initialization(baseline, baseline.begin(0)), steps=2, seed=0, tasks=3)


def test_all_labels_so_far_are_candidates(setup: Setup, encoded: list[EncodedTask]) -> None:
    made = method(setup)
    state = made.begin()
    assert class_incremental(made, state, encoded[0], []) is None, "nothing is learned yet"
    for at, one in enumerate(encoded):
        state = made.learn(state, [one])
        if not at:
            assert class_incremental(made, state, one, encoded[:1]) == task_incremental(made, state, one, encoded[:1])
            assert class_incremental(made, state, encoded[1], encoded[:1]) is None
    labels = ("red", "blue", "north", "south", "green")
    one = encoded[2]
    asked = made.problem.ask(one.task.test, labels)
    if state.means["a"]:
        # Red is in two tasks: the mean over both tasks' examples.
        sums = {label: np.zeros(state.means["a"]["means"].shape[1]) for label in labels}
        counts = dict.fromkeys(labels, 0)
        for each in encoded:
            for i, label in enumerate(each.task.labels):
                held = state.means[each.task.name]
                sums[label] = sums[label] + held["means"][i].astype(np.float64) * held["counts"][i]
                counts[label] += int(held["counts"][i])
        assert counts == {"red": 6, "blue": 3, "north": 3, "south": 3, "green": 3}
        prior = np.stack([sums[label] / counts[label] for label in labels]).astype(np.float16).astype(np.float32)
        many = np.array([counts[label] for label in labels], np.float32)
        ops = setup.parts.ops
        asked = {**asked, "class_sums": ops.array((prior * many[:, None])[None]), "class_counts": ops.array(many[None])}
    found = made.ops.numpy(made.problem.predict(state.rows, asked, made.shared))
    assert found.shape[-1] == 5
    right = classified(found, made.ops.numpy(asked["onehot"]), made.ops.numpy(asked["weights"]))["accuracy"][0]
    assert class_incremental(made, state, one, encoded) == pytest.approx(right)


@pytest.mark.parametrize("name", KINDS)
def test_every_method_can_be_asked_among_all(setup: Setup, encoded: list[EncodedTask], name: str) -> None:
    if name == "o_lora":
        pytest.skip("wants an adapter with a rank for each task")
    made = method(setup, name)
    state = made.begin()
    for some in [encoded] if made.at_once else [[one] for one in encoded]:
        state = made.learn(state, some)
    found = [class_incremental(made, state, one, encoded) for one in encoded]
    assert all(value is not None and 0 <= value <= 1 for value in found)
    if name == "single_task":
        assert found == [task_incremental(made, state, one, encoded) for one in encoded], (
            "its rows have seen no other labels"
        )


def test_labels_of_one_name_are_one_class() -> None:
    def means(*rows: tuple[float, int]) -> dict[str, np.ndarray]:
        return {"means": np.array([[m] for m, _ in rows], np.float16), "counts": np.array([n for _, n in rows])}

    found = merged([(("x", "y"), means((1, 2), (4, 1))), (("y", "z"), means((1, 3), (5, 1)))], ("x", "y", "z"))
    assert found["counts"].tolist() == [2, 4, 1]
    assert found["means"][:, 0].tolist() == [1, 1.75, 5], "(4 + 3 x 1) / 4"
    assert merged([(("x",), {})], ("x",)) == {}

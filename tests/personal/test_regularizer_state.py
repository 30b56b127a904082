"""A regularizer's state goes from day to day, into the store and back, for one user and many."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.notes import LINES, NOTES, saved

from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import recipe_of
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.class_means import load_class_means, with_memory
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.many_users import UserData, adapt_all
from mlx_melpa.store import Store
from mlx_melpa.store.run import Run


def held(base: Path, readout: Any, **regularizer: Any) -> Run:
    """A run from a random start with a regularizer."""
    tree = {"model": str(base), "adapter": {"kind": "lora", "rank": 2}, "tasks": {"kind": "synthetic"}}
    tree |= {"readout": readout, "rule": {"kind": "sgd", "lr": 0.05}, "learner": {"kind": "maml", "steps": 3}}
    setup = compose(recipe_of({**tree, "regularizer": regularizer}, "held"))
    return Run(Path("held"), setup, setup.begin(0), {}, "")


@pytest.fixture(scope="module")
def base(shared: Path) -> Path:
    return shared / "models/stories260k"


@pytest.mark.parametrize("labelled", [True, False])
def test_ewc_is_carried_from_day_to_day(base: Path, labelled: bool) -> None:
    examples, readout = (NOTES, "prototypes") if labelled else (LINES, "completion")
    run = held(base, readout, kind="ewc", strength=1.0, decay=0.5, learn=True)
    parts, layout = run.setup.parts, run.setup.layout
    first = saved(adapt_user(run, examples[:6], steps=2))
    assert first.state.regularizer["root"].shape == (1, layout.size)

    # The Fisher anew, one example and one row at a time.
    rows, labels, squares = parts.ops.array(first.state.rows), first.labels, []
    for example in examples[:6]:
        batch = parts.problem.support([Episode("", (example,), (), labels)])
        batch = with_memory(parts, batch, load_class_means(first.state.class_means, labels))
        slope = parts.ops.grad(lambda r, batch=batch: parts.problem.losses(r, batch, run.shared).sum(), rows)
        squares.append(parts.ops.numpy(slope)[0] ** 2)
    fisher = np.mean(squares, 0)
    fisher = np.minimum(fisher / fisher.mean(), 10)
    np.testing.assert_allclose(first.state.regularizer["root"][0] ** 2, fisher, rtol=1e-3, atol=1e-5)

    second = saved(adapt_user(run, examples[6:], previous=first, steps=3), 2)
    support = parts.problem.support([Episode("", tuple(examples[6:]), (), second.labels)])
    support = with_memory(parts, support, load_class_means(first.state.class_means, second.labels))

    def moved(carried: Any) -> np.ndarray:
        begun = {
            **adapt.resume(parts, rows, carried),
            "rows": parts.problem.with_temperature(rows, support, run.shared),
        }
        end = adapt.adapt(parts, run.theta, support, 3, begun)
        moved: np.ndarray = parts.ops.numpy(end["rows"])[0]
        return moved

    before, after = first.state.rows[0], second.state.rows[0]
    np.testing.assert_allclose(moved({"root": parts.ops.array(np.sqrt(fisher)[None])}), after, rtol=1e-3, atol=1e-4)
    assert np.abs(moved({}) - before).sum() > 1.05 * np.abs(after - before).sum()
    added = second.state.regularizer["root"][0] ** 2 - 0.5 * fisher
    assert added.min() > -1e-3 and added.max() < 10.01 and 0.3 < added.mean() <= 1


def test_what_is_carried_counts_in_bytes_and_comes_back_from_the_store(base: Path, tmp_path: Path) -> None:
    sizes = []
    for kind in ("none", "ewc"):
        run = held(base, "prototypes", kind=kind)
        with Store(tmp_path) as store:
            number = store.put(kind, adapt_user(run, NOTES, steps=1).version)
            sizes.append(store.get(kind, number).nbytes)
            back = store.latest(kind)
        assert back is not None and adapt_user(run, [Example("sweep", label="home")], previous=back, steps=1)
    own = run.layout.size
    assert 2 * own <= sizes[1] - sizes[0] <= 2 * own + 128


def test_many_people_carry_what_each_would_alone(base: Path, tmp_path: Path) -> None:
    run = held(base, "prototypes", kind="ewc")
    people = {"a": UserData(NOTES[:7]), "b": UserData([*NOTES[:2], *NOTES[5:9]])}
    with Store(tmp_path) as store:
        assert {one.user for one in adapt_all(run, people, store, "job", steps=2)} == set(people)
        for user, data in people.items():
            latest, alone = store.latest(user), adapt_user(run, data.examples, steps=2).version.state
            assert latest is not None
            np.testing.assert_allclose(
                latest.state.regularizer["root"], alone.regularizer["root"], rtol=5e-2, atol=2e-2
            )


def test_a_linear_head_leaves_nobody_out_and_keeps_its_temperature(base: Path) -> None:
    run = held(base, {"kind": "linear", "ways": 5}, kind="none")
    first = saved(adapt_user(run, NOTES, steps=3))
    more = adapt_user(run, [Example(f"{e.text} now", label=e.label) for e in NOTES], previous=first, steps=0)
    np.testing.assert_array_equal(more.version.state.rows, first.state.rows)


def test_one_person_s_labels_too_many_hold_up_nobody(base: Path, tmp_path: Path) -> None:
    run = held(base, {"kind": "linear", "ways": 5}, kind="none")
    many = [Example(e.text, label=f"{i % 6}") for i, e in enumerate(NOTES)]
    people = {"few": UserData(NOTES[::3]), "many": UserData(many)}
    with Store(tmp_path) as store:
        told = {one.user: one for one in adapt_all(run, people, store, "job", steps=1)}
    assert (told["few"].number, told["many"].number) == (1, None)
    assert "6 labels are more than the 5" in told["many"].reason

"""What each method promises: which rows move, what is stored, and what it counts."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Method, weighted_losses
from mlx_melpa.benchmarks.continual.methods.o_lora import OLora, Orthogonal
from mlx_melpa.benchmarks.continual.methods.replay import sample
from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import recipe_of
from mlx_melpa.core.types import Example
from mlx_melpa.errors import RecipeError

Build = Callable[..., Method]


def test_a_kind_is_a_file_and_a_class() -> None:
    for kind, method in KINDS.items():
        name = kind.replace("_", "").lower()
        assert (method.__name__.lower(), method.__module__) == (name, f"mlx_melpa.benchmarks.continual.methods.{kind}")


def numbers(method: Method, rows: object) -> np.ndarray:
    return method.ops.numpy(rows)


@pytest.mark.parametrize("name", KINDS)
def test_learning_is_repeatable_takes_its_steps_and_answers_with_probabilities(
    built: Build, encoded: list[EncodedTask], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for _ in range(2):
        method, taken = built(name), []
        through = method.project_gradient
        monkeypatch.setattr(method, "project_gradient", lambda *args, f=through, to=taken: to.append(1) or f(*args))
        state = method.begin()
        for piece in [encoded] if method.at_once else [[one] for one in encoded]:
            state = method.learn(state, piece)
        found.append(numbers(method, state.rows))
        probabilities = numbers(method, method.predict(state, encoded[0]))
        assert probabilities.shape == (1, 8, 2)
        assert probabilities.sum(-1) == pytest.approx(1, abs=1e-5)
        assert len(taken) == (2 * len(encoded) if method.trains else 0)
        assert [len(kept) for kept in state.examples.values()] == ([3] * len(encoded) if method.stores_examples else [])
    assert np.array_equal(*found)
    assert np.array_equal(found[0][:1], numbers(method, Method.begin(method).rows)) == (name == "frozen")


def test_naive_moves_one_row_and_single_task_leaves_earlier_rows(built: Build, encoded: list[EncodedTask]) -> None:
    one, many = built("naive"), built("single_task")
    state, apart = one.learn(one.begin(), encoded[:1]), many.learn(many.begin(), encoded[:1])
    assert np.array_equal(numbers(one, state.rows), numbers(many, apart.rows))
    after, more = one.learn(state, encoded[1:2]), many.learn(apart, encoded[1:2])
    assert numbers(one, after.rows).shape[0] == 1 and numbers(many, more.rows).shape[0] == 2
    assert not np.array_equal(numbers(one, after.rows), numbers(one, state.rows))
    assert np.array_equal(numbers(many, more.rows)[0], numbers(many, apart.rows)[0])
    before, now = (numbers(many, many.predict(s, encoded[0])) for s in (apart, more))
    assert np.array_equal(before, now)


def test_joint_begins_as_one_task_does(built: Build, encoded: list[EncodedTask]) -> None:
    joint, one = built("joint"), built("naive")
    once = joint.learn(joint.begin(), encoded[:1])
    assert np.array_equal(numbers(joint, once.rows), numbers(one, one.learn(one.begin(), encoded[:1]).rows))


def test_replay_stores_as_many_as_it_may_and_its_loss_counts_them(
    built: Build, setup: Setup, encoded: list[EncodedTask]
) -> None:
    method = built("replay")
    state = method.learn(method.begin(), encoded[:1])
    held = state.examples[encoded[0].task.name]
    assert len(held) == 3 and set(held) <= set(encoded[0].task.train)
    now, earlier = method.batches(state, encoded[1], np.random.default_rng(0))
    problem = setup.parts.problem
    both = [float(problem.losses(state.rows, batch, method.shared)[0]) for _, batch in (now, earlier)]
    loss = weighted_losses(method.problem, (now, earlier), method.shared, state.rows)
    assert float(loss[0]) == pytest.approx(sum(both) / 2, rel=1e-5)
    assert int(numbers(method, earlier[1]["weights"]).sum()) == 3


def test_a_store_is_a_uniform_sample() -> None:
    examples = [Example(str(i)) for i in range(10)]
    rng = np.random.default_rng(0)
    counts = np.zeros(10)
    for _ in range(4000):
        for one in sample(examples, 3, rng):
            counts[int(one.text)] += 1
    assert counts.sum() == 4000 * 3
    assert np.abs(counts / 4000 - 0.3).max() < 0.03
    assert sample(examples, 20, rng) == tuple(examples)


def test_o_lora_moves_the_block_of_its_task_alone(built: Build, setup: Setup, encoded: list[EncodedTask]) -> None:
    method = built("o_lora")
    assert isinstance(method, OLora) and method.rank == 1
    views = setup.layout.views
    states = [method.begin()]
    for one in encoded:
        states.append(method.learn(states[-1], [one]))
    rows = [views(numbers(method, state.rows)[0]) for state in states]
    for block, (before, after) in enumerate(pairwise(rows)):
        for name in (n for n in before if n.endswith((".lora_a", ".lora_b"))):
            a, b = (w[name] if name.endswith("b") else w[name].T for w in (before, after))
            moved = [not np.array_equal(a[i], b[i]) for i in range(3)]
            # With B at zero an A has no gradient at its first step, and one at its second.
            assert moved == [i == block for i in range(3)], name


def test_the_penalty_of_o_lora_is_its_formula(setup: Setup) -> None:
    layout, rng = setup.layout, np.random.default_rng(0)
    row = rng.standard_normal(layout.size).astype(np.float32)
    wanted = 0.0
    for name, a in layout.views(row).items():
        if name.endswith(".lora_a"):
            wanted += sum(((a[:, [i]].T @ a[:, [2]]) ** 2).sum() for i in range(2))
    ops = setup.parts.ops
    for block, value in ((0, 0.0), (2, 0.5 * wanted)):
        held = Orthogonal(ops, layout, 1, block, 0.5)
        assert float(held.penalty({}, {}, ops.array(row[None]), ops.zeros_like)[0]) == pytest.approx(value, rel=1e-5)


def test_a_row_s_drift_is_the_divergence_of_its_answers(setup: Setup, encoded: list[EncodedTask]) -> None:
    parts, support = setup.parts, encoded[0].support
    rng, shared = np.random.default_rng(1), setup.begin(0)["problem"]
    start = parts.problem.layout.draw(rng)
    moved = start + 0.2 * rng.standard_normal(len(start))
    before, rows = (parts.ops.array(row.astype(np.float32)[None]) for row in (start, moved))
    p, q = (parts.ops.numpy(parts.problem.predict(r, support, shared))[0].astype(np.float64) for r in (before, rows))
    weights = parts.ops.numpy(support["weights"])[0]
    each = np.where(p > 0, p * np.log(np.maximum(p, 1e-30) / np.maximum(q, 1e-30)), 0).sum(-1)
    wanted = (each * weights).sum() / weights.sum()
    assert wanted > 2e-5
    assert float(parts.problem.drift(rows, before, support, shared)[0]) == pytest.approx(wanted, rel=1e-2)
    assert float(parts.problem.drift(rows, rows, support, shared)[0]) == 0


def test_texts_have_no_answers_to_distil(shared: object) -> None:
    tree = {"model": f"{shared}/models/stories260k", "adapter": "lora", "tasks": "synthetic", "readout": "completion"}
    with pytest.raises(RecipeError, match="regularizer: lwf distils answers among labels"):
        compose(recipe_of({**tree, "learner": "fomaml", "regularizer": "lwf"}, "texts"))


def test_bytes_are_counted(built: Build, setup: Setup, encoded: list[EncodedTask]) -> None:
    own = setup.layout.size
    width = {"prototypes": setup.problem.acting_layout.segments[-2].size ** 0.5}.get(
        setup.recipe.resolved["readout"]["kind"], 0
    )
    means = 2 * (2 * int(width) + 4) if width else 0
    for name, rows in (("naive", 1), ("replay", 1), ("con_pet_static", 1), ("oml", 1), ("single_task", 2)):
        method = built(name)
        state = method.begin()
        for one in encoded[:2]:
            state = method.learn(state, [one])
        texts = sum(len(e.text) + len(e.label or "") for kept in state.examples.values() for e in kept)
        assert (texts > 0) == method.stores_examples
        assert method.nbytes(state) == 2 * own * rows + 2 * means * (1 if means else 0) + texts, name


def test_ewc_holds_the_row_more_than_nothing_does(built: Build, encoded: list[EncodedTask]) -> None:
    moves = []
    for name, settings in (("naive", {}), ("ewc", {"strength": 1e-2}), ("ewc", {"strength": 1e4})):
        method = built(name, **settings)
        first = method.learn(method.begin(), encoded[:1])
        after = method.learn(first, encoded[1:2])
        moves.append(np.abs(numbers(method, after.rows) - numbers(method, first.rows)).sum())
        assert method.strength == settings.get("strength")
        assert set(after.regularizer_state) == ({"root"} if name == "ewc" else set())
    # Adam's first step is the sign of the gradient whatever holds the row: the second turns back.
    assert moves[2] < 0.75 * moves[0] and moves[1] <= moves[0] * 1.01


def test_lwf_distils_from_the_row_before(built: Build, setup: Setup, encoded: list[EncodedTask]) -> None:
    method = built("lwf")
    state = method.learn(method.begin(), encoded[:1])
    (_, now), (strength, old) = method.batches(state, encoded[1], np.random.default_rng(0))
    assert now is encoded[1].support and strength == 1
    ops, problem = method.ops, setup.parts.problem
    soft, weights = numbers(method, old["onehot"])[0], numbers(method, old["weights"])[0]
    entropy = -(soft * np.log(soft)).sum(-1)
    assert float(problem.losses(state.rows, old, method.shared)[0]) == pytest.approx(
        (entropy * weights).sum() / weights.sum(), rel=1e-4
    )
    here, there = (
        np.linalg.norm(ops.numpy(ops.grad(lambda rows: problem.losses(rows, old, method.shared).sum(), rows)))
        for rows in (state.rows, method.begin().rows)
    )
    assert here < 1e-3 * there


def test_what_a_regularizer_carries_counts(built: Build, setup: Setup, encoded: list[EncodedTask]) -> None:
    plain, held = built("naive"), built("ewc")
    sizes = [m.nbytes(m.learn(m.begin(), encoded[:1])) for m in (plain, held)]
    assert sizes[1] - sizes[0] == 2 * setup.layout.size

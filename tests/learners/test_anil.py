"""ANIL: steps move the head alone, the outer loop trains all, and a person's version holds the head."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from toys import references as verify
from toys.parts import small

from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.errors import RecipeError
from mlx_melpa.learners.anil import Anil
from mlx_melpa.learners.maml import maml
from mlx_melpa.store.run import load_run
from mlx_melpa.training.meta_train import meta_train

SINUSOID = """
problem: {kind: regression, hidden: [8, 8], activation: tanh}
tasks: {kind: sinusoid, shots: 5, queries: 5}
rule: {kind: lslr, lr: 0.05}
learner: {kind: anil, steps: 2}
train: {iterations: 3, tasks_per_step: 2, validation_episodes: 2, checkpoint_every: 2}
"""
HEAD = 8 + 1


def setup(folder: Path, *sets: str) -> Setup:
    (folder / "r.yaml").write_text(SINUSOID)
    return compose(load_recipe(folder / "r.yaml", sets))


def layout(*names: str, shared: tuple[str, ...] = ()) -> Layout:
    return Layout(Segment(name, (2,), shared=name in shared) for name in names)


def test_the_last_adapted_blocks_and_the_readout_s_own_numbers_move() -> None:
    whole = layout("3.a", "3.b", "5.a", "10.a", "readout.scale", "readout.metric", shared=("readout.metric",))
    for last, names in {
        0: ["readout.scale"],
        1: ["10.a", "readout.scale"],
        2: ["5.a", "10.a", "readout.scale"],
    }.items():
        held = Anil.freeze(whole, {"last": last})
        assert [s.name for s in held.personal.segments] == names
        assert (held.fingerprint, held.size) == (whole.fingerprint, whole.size)
    with pytest.raises(RecipeError, match="the last 3 of 3 adapted blocks leave the inner steps all there is: take"):
        Anil.freeze(whole, {"last": 3})
    with pytest.raises(RecipeError, match="nothing to move: set it to 1"):
        Anil.freeze(layout("0.a", "1.a"), {"last": 0})


@pytest.mark.parametrize("backend", ["mlx", "torch"])
def test_steps_move_the_head_alone_and_the_outer_loop_trains_all(tmp_path: Path, backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    made = setup(tmp_path, f"backend={backend}")
    parts, theta, ops = made.parts, made.begin(0), made.parts.ops
    tasks = load_recipe(tmp_path / "r.yaml").make("tasks").train
    support, query = parts.problem.prepare([tasks.episode(np.random.default_rng(i)) for i in range(2)])
    states: list[np.ndarray] = []
    adapt.adapt(parts, theta, support, 2, watch=lambda k, state: states.append(ops.numpy(state["rows"])))
    moved = (states[2] != states[0]).all(0)
    assert moved.all() and moved.size == made.layout.size == HEAD
    assert theta["rule"]["lr"].shape == (5, 2)
    losses, gradient = made.learner.meta_grad(theta, support, query)
    assert (ops.numpy(gradient["initializer"]["start"]) != 0).all()
    assert (ops.numpy(gradient["problem"]["shared"]) != 0).all()
    assert np.abs(ops.numpy(gradient["rule"]["lr"])[:2]).min() > 0
    wanted = verify.unrolled(parts, theta, support, query, 2)
    assert max(verify.difference(gradient, wanted, ops).values()) < 1e-5
    loss = verify.query_loss(parts, support, query, 2)
    assert float(ops.numpy(losses).sum()) == pytest.approx(loss(theta), rel=1e-5)
    assert max(dict(verify.slopes(loss, theta, gradient, ops, np.random.default_rng(0))).values()) < 1e-2


def test_rates_of_zero_outside_the_head_make_maml_of_it(tmp_path: Path) -> None:
    free, start, support, query = small("meta_sgd", {"lr": 0.05}, "none", {})
    held, theta, *_ = small("meta_sgd", {"lr": 0.05}, "none", {}, last=1)
    ops, problem = free.ops, cast(Any, held.problem)
    own, rest = problem.acting_layout.divide(np.arange(problem.acting_layout.size))
    start["rule"]["lr"] = ops.array(np.where(np.isin(np.arange(own.size + rest.size), own), 0.05, 0.0))
    wanted, found = (maml(p, steps=3).meta_grad(t, support, query)[1] for p, t in ((free, start), (held, theta)))
    whole = ops.numpy(wanted["initializer"]["start"])
    np.testing.assert_allclose(ops.numpy(found["initializer"]["start"]), whole[own], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ops.numpy(found["problem"]["shared"]), whole[rest], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ops.numpy(found["rule"]["lr"]), ops.numpy(wanted["rule"]["lr"])[own], rtol=1e-4)


def test_a_run_trains_the_body_and_a_person_s_weights_are_whole_again(tmp_path: Path) -> None:
    begun = setup(tmp_path).begin(0)
    list(meta_train(load_recipe(tmp_path / "r.yaml"), tmp_path / "run"))
    run = load_run(tmp_path / "run")
    ops, problem = run.setup.ops, run.setup.problem
    for part, name in (("initializer", "start"), ("problem", "shared")):
        assert (ops.numpy(run.theta[part][name]) != ops.numpy(begun[part][name])).all()
    row = ops.numpy(run.theta["initializer"]["start"]) + 1
    assert row.shape == (HEAD,)
    own, rest = problem.acting_layout.divide(run.acting(row[None]))
    assert (own == row).all() and (rest == ops.numpy(run.theta["problem"]["shared"])).all()


def test_a_baseline_is_not_held_by_the_learner(tmp_path: Path) -> None:
    made = setup(tmp_path)
    assert made.problem.acting_layout.shared.size > 0
    assert made.random_start(1e-2).layout.size == made.problem.acting_layout.size
    assert not setup(tmp_path, "learner=maml").problem.acting_layout.shared.size


def test_a_language_run_stores_and_exports_the_whole_adapter(tmp_path: Path, shared: Path) -> None:
    from mlx_melpa.exports.common import adapter_values, metadata_of

    (tmp_path / "r.yaml").write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 2}}\n"
        "tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}\nreadout: prototypes\n"
        "learner: {kind: anil, steps: 1}\n"
    )
    made: Any = compose(load_recipe(tmp_path / "r.yaml"))
    moving = {s.name.split(".")[0] for s in made.layout.segments}
    assert moving == {"4", "readout"}
    whole = made.problem.acting_layout
    row = np.zeros(whole.size, np.float32)
    metadata = type(metadata_of(made.model))(whole, {})
    assert adapter_values(made.model.layout, row, metadata).shape == (made.model.layout.size,)
    made.model.detach()

"""Both engines give the same numbers: losses, meta-gradients, runs, and what a run answers on the other engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from toys.parts import RULES as SETTINGS
from toys.parts import small

from mlx_melpa.adapters import KINDS as ADAPTERS
from mlx_melpa.config.build import compose, engine, on_backend
from mlx_melpa.config.recipe import load_recipe, recipe_of
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import ModelError
from mlx_melpa.evaluation.baselines.in_context import InContext
from mlx_melpa.initializers import KINDS as INITIALIZERS
from mlx_melpa.learners import KINDS as LEARNERS
from mlx_melpa.problems import KINDS as PROBLEMS
from mlx_melpa.readouts import KINDS as READOUTS
from mlx_melpa.readouts.prototypes import FeatureSettings
from mlx_melpa.regularizers import KINDS as REGULARIZERS
from mlx_melpa.rules import KINDS as RULES
from mlx_melpa.store.run import load_run
from mlx_melpa.tasks.synthetic import synthetic
from mlx_melpa.training.meta_train import meta_train
from mlx_melpa.verification.suite import check_all

pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")
ENGINES = ("mlx", "torch")
SINUSOID = """
problem: {kind: regression, hidden: [10], activation: tanh}
tasks: {kind: sinusoid, shots: 5, queries: 5}
rule: meta_sgd
learner: {kind: maml, steps: 2}
train: {iterations: 10, tasks_per_step: 4, checkpoint_every: 10, validate_every: 10, validation_episodes: 2, seed: 3}
"""
LANGUAGE = """
model: %s
adapter: {kind: lora, rank: 2, sites: [q_proj, v_proj, up_proj, down_proj], layers: 2}
tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}
readout: prototypes
rule: {kind: meta_sgd, lr: 0.1}
learner: {kind: fomaml, steps: 2}
train:
  {iterations: 10, tasks_per_step: 2, checkpoint_every: 10, validate_every: 10, validation_episodes: 2,
   optimizer: {kind: adamw, lr: 1e-3}, schedule: cosine, warmup: 3}
"""


def far(a: Any, b: Any) -> float:
    """|a - b| / |b|."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12))


def gradients(learner: str, parts: Components, theta: Any, support: Any, query: Any) -> tuple[np.ndarray, Any]:
    solved: Any = {"cg_steps": 60, "tolerance": 1e-6} if learner == "imaml" else {}
    losses, gradient = LEARNERS[learner](parts, steps=3, **solved).meta_grad(theta, support, query)
    return parts.ops.numpy(losses), parts.ops.map_tree(parts.ops.numpy, gradient)


def assert_same(first: tuple[np.ndarray, Any], second: tuple[np.ndarray, Any]) -> None:
    # Adam divides gradients by their size: where one is tiny, the engines' rounding moves the results by some 1e-5.
    np.testing.assert_allclose(first[0], second[0], rtol=5e-5, atol=1e-5)
    a, b = (engine("torch").flatten(found[1]) for found in (first, second))
    assert [name for name, _ in a] == [name for name, _ in b]
    for (name, x), (_, y) in zip(a, b, strict=True):
        assert far(x, y) <= 2e-4, name


@pytest.mark.parametrize("rule", [name for name in RULES if name != "ada_lora"])  # which wants LoRA's ranks
@pytest.mark.parametrize("learner", LEARNERS)
def test_meta_gradients_on_the_sinusoid(learner: str, rule: str) -> None:
    strength = {"strength": 5.0, "learn": True}
    found = [gradients(learner, *small(rule, SETTINGS[rule], "l2", strength, 0, name)) for name in ENGINES]
    assert np.abs(found[0][1]["initializer"]["start"]).max() > 1e-3
    assert_same(*found)


SUITED = [learner for learner in LEARNERS if learner != "imaml"]  # which wants a regularizer
ON_A_MODEL = [(learner, rule, "lora") for learner in SUITED for rule in RULES]
ON_A_MODEL += [("maml", "meta_sgd", adapter) for adapter in ADAPTERS if adapter != "lora"]


@pytest.mark.parametrize(("learner", "rule", "adapter"), ON_A_MODEL)
def test_meta_gradients_on_a_language_model(put: Callable[..., Any], learner: str, rule: str, adapter: str) -> None:
    tasks = synthetic(ways=2, shots=2, queries=2).train
    episodes = [tasks.episode(np.random.default_rng([0, i])) for i in range(2)]
    noise = np.random.default_rng(5)
    found, start = [], None
    for name in ENGINES:
        ops, adapted = engine(name), put(name, adapter, **({} if adapter == "prompt" else {"layers": 2}))
        readout = READOUTS["prototypes"](ops, adapted.base.tokenizer, features=FeatureSettings(metric="plain"))
        problem = PROBLEMS["language"](ops, adapted, readout)
        if start is None:  # away from the start: factors of zero would leave the others without a gradient
            start = problem.layout.draw(np.random.default_rng(0)) + 0.02 * noise.standard_normal(problem.layout.size)
        rules = RULES[rule](ops, problem.layout, **SETTINGS[rule])
        parts = Components(ops, problem, INITIALIZERS["universal"](ops), rules, REGULARIZERS["none"](ops))
        theta = {
            "initializer": {"start": ops.array(start)},
            "problem": problem.init(np.random.default_rng(0))[1],
            "rule": rules.init(problem.layout),
            "regularizer": {},
        }
        found.append(gradients(learner, parts, theta, *problem.prepare(episodes)))
    assert_same(*found)


@pytest.mark.parametrize("readout", ["labels", "completion"])
def test_losses_of_the_readouts_that_write(put: Callable[..., Any], readout: str) -> None:
    tasks = synthetic(ways=2, shots=2, queries=2).train
    episode = tasks.episode(np.random.default_rng(0))
    if readout == "completion":
        written = tuple(type(e)(e.text, target=f" {e.label}") for e in episode.support)
        episode = type(episode)("", written, written)
    found, rows = [], None
    for name in ENGINES:
        ops, adapted = engine(name), put(name, layers=2)
        problem = PROBLEMS["language"](ops, adapted, READOUTS[readout](ops, adapted.base.tokenizer))
        rows = np.random.default_rng(1).normal(0, 0.1, (1, problem.layout.size)) if rows is None else rows
        support, _ = problem.prepare([episode])
        assert all("prefix_states" in part for part in support["parts"])
        found.append(ops.numpy(problem.losses(ops.array(rows), support, {})))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def trained(recipe: Path, out: Path, name: str) -> dict[str, np.ndarray]:
    events = list(meta_train(on_backend(load_recipe(recipe), name), out))
    assert events[-1]["iteration"] == 10
    return load_file(out / "theta.safetensors")


@pytest.mark.parametrize("text", [SINUSOID, LANGUAGE], ids=["sinusoid", "language"])
def test_ten_meta_iterations_from_one_seed(text: str, small_llama: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text % small_llama if "%s" in text else text)
    first, second = (trained(recipe, tmp_path / name, name) for name in ENGINES)
    assert first.keys() == second.keys()
    for name in first:
        assert far(second[name], first[name]) <= 1e-3, name


@pytest.mark.parametrize("maker", ENGINES)
def test_a_run_of_one_engine_answers_the_same_on_the_other(maker: str, small_llama: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(LANGUAGE % small_llama)
    trained(recipe, tmp_path / "run", maker)
    tokens, logits = np.random.default_rng(0).integers(3, 500, (2, 11)), []
    for name in ENGINES:
        run = load_run(tmp_path / "run", backend=name)
        ops, model = run.setup.parts.ops, run.setup.model
        assert ops.name == name
        rows = run.theta["initializer"]["start"].reshape(1, -1)
        logits.append(ops.numpy(model.logits(rows, ops.array(tokens), ops.array(np.arange(22)))))
        model.detach()
    assert np.abs(logits[0] - logits[1]).max() <= 1e-4


def test_a_run_whose_rows_are_ordered_otherwise_is_refused(tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(SINUSOID)
    trained(recipe, out, "torch")
    info = (out / "run.json").read_text()
    layout = load_run(out).setup.layout.fingerprint
    (out / "run.json").write_text(info.replace(layout, "0" * 16))
    with pytest.raises(ModelError, match="orders its row in another way"):
        load_run(out, backend="mlx")


def test_every_check_of_verify_is_met() -> None:
    for check in check_all(backend="torch"):
        assert check.met, check


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("backend: torch\n" + SINUSOID.replace("checkpoint_every: 10", "checkpoint_every: 3"))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    list(meta_train(load_recipe(recipe), whole))
    events = meta_train(load_recipe(recipe), stopped)
    for event in events:
        if event["iteration"] == 5:
            break
    events.close()  # type: ignore[attr-defined]
    assert list(meta_train(load_recipe(recipe), stopped, resume=True))[1]["iteration"] == 4
    assert (whole / "theta.safetensors").read_bytes() == (stopped / "theta.safetensors").read_bytes()


def test_examples_in_context_ask_the_base_alone(shared: Path) -> None:
    good, bad = Example("good day", label="x"), Example("bad day", label="y")
    episode, found = Episode("", (good, bad), (good, bad), ("x", "y")), []
    for backend in ENGINES:
        for adapter in ({"kind": "lora"}, {"kind": "prompt", "tokens": 3}, {"kind": "prefix", "length": 4}):
            tree = {"model": str(shared / "models" / "stories260k"), "adapter": adapter, "backend": backend}
            tree |= {"tasks": "synthetic", "readout": "prototypes", "learner": "fomaml"}
            found.append(InContext(compose(recipe_of(tree, "small"))).measure_both(episode, 1)[0]["loss"][0])
    assert found == pytest.approx([found[0]] * len(found), rel=1e-4)

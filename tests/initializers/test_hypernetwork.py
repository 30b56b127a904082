"""The hypernetwork against its formula; what it may not depend on; its sizes; and a run from end to end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from toys.parts import RULES, errors, small
from typer.testing import CliRunner

from mlx_melpa.backends.mlx import ops
from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.types import Episode
from mlx_melpa.errors import RecipeError
from mlx_melpa.initializers import KINDS
from mlx_melpa.initializers.hypernetwork import Hypernetwork
from mlx_melpa.store import Store

FORMS = ("whole", "chunked")
HYPERNETWORK = dict(Hypernetwork.verify_with[0])
SMALL = {"embedding": 5, "hidden": 4, "chunk": 3, "place": 6}
WIDTH = 7
RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, layers: %s}
tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}
initializer: {kind: hypernetwork, form: %s, embedding: 16, hidden: 8, chunk: 64}
readout: {kind: prototypes, metric_episodes: 4}
rule: {kind: sgd, lr: 0.1}
learner: {kind: fomaml, steps: 1}
train: {iterations: 3, tasks_per_step: 2, validate_every: 3, validation_episodes: 2, optimizer: {kind: adam, lr: 0.01}}
"""


class Problem:
    """A row of weights of odd sizes."""

    layout = Layout([Segment("a", (2, 4), 0.3), Segment("b", (5,), 0.1)])

    def encode(self, context: str = "support") -> int:
        return WIDTH


def built(form: str, problem: Any = None, **settings: Any) -> Any:
    return KINDS["hypernetwork"](ops, problem or Problem(), form=form, **{**SMALL, **settings})


def drawn(maker: Any, layout: Layout) -> Any:
    """Its parameters moved off the zeros that they begin with."""
    rng = np.random.default_rng(1)
    start = maker.init(rng, layout.draw(rng))
    return ops.map_tree(lambda x: x + 0.5 * ops.array(rng.standard_normal(x.shape)), start)


def a_support(tasks: int = 2, many: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    context = np.random.default_rng(seed).standard_normal((tasks, many, WIDTH))
    return {"context": context, "present": np.ones((tasks, many))}


def made(maker: Any, meta: Any, support: dict[str, np.ndarray]) -> np.ndarray:
    ready = {name: ops.array(value) for name, value in support.items()}
    return ops.numpy(maker.make({"initializer": meta}, ready, len(support["present"])))


def embedded(meta: Any, x: np.ndarray) -> np.ndarray:
    """E of one task's examples (S, d), written again."""
    h = np.tanh(x @ meta["enter"] + meta["bias"])
    near = np.exp((h @ meta["query"]) @ (h @ meta["key"]).T / np.sqrt(h.shape[1]))
    return (h + near / near.sum(1, keepdims=True) @ (h @ meta["value"])).mean(0)


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_the_start_and_what_the_formula_adds_to_numbers_of_ones_own(form: str) -> None:
    maker, support = built(form), a_support()
    meta = drawn(maker, Problem.layout)
    rows = made(maker, meta, support)
    plain = ops.map_tree(lambda x: ops.numpy(x).astype(np.float64), meta)
    h = plain["writer"]
    for t in range(2):
        e = embedded(plain["encoder"], support["context"][t])
        if form == "whole":
            own = np.maximum(e @ h["enter"] + h["bias"], 0) / 4 @ h["leave"]
        else:
            parts = []
            for weight, size in enumerate((8, 5)):
                chunks = []
                for j in range(-(-size // 3)):
                    wave = [f(j / 10 ** (i / 4)) for i in range(3) for f in (np.sin, np.cos)]
                    inner = e @ h["enter"] + (h["places"][:, weight] + wave) @ h["where"] + h["bias"]
                    chunks.append(np.maximum(inner, 0) / 4 @ h["leave"])
                parts.append(np.concatenate(chunks)[:size])
            own = np.concatenate(parts)
        wanted = plain["start"] + own
        np.testing.assert_allclose(rows[t], wanted, rtol=1e-4, atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-2


@pytest.mark.parametrize("form", FORMS)
def test_it_begins_as_universal_does(form: str) -> None:
    maker, universal = built(form), KINDS["universal"](ops)
    meta, plain = (
        each.init(np.random.default_rng(0), Problem.layout.draw(np.random.default_rng(0)))
        for each in (maker, universal)
    )
    np.testing.assert_array_equal(
        made(maker, meta, a_support()), ops.numpy(universal.make({"initializer": plain}, {}, 2))
    )
    moved = drawn(maker, Problem.layout)
    np.testing.assert_array_equal(ops.numpy(maker.make({"initializer": moved}, {}, 1))[0], ops.numpy(moved["start"]))


@pytest.mark.parametrize("form", FORMS)
def test_neither_the_order_of_examples_nor_padding_counts(form: str) -> None:
    maker, support = built(form), a_support()
    meta = drawn(maker, Problem.layout)
    rows = made(maker, meta, support)
    order = [2, 0, 3, 1]
    mixed = {"context": support["context"][:, order], "present": support["present"][:, order]}
    np.testing.assert_allclose(made(maker, meta, mixed), rows, atol=1e-5)
    noise = 9 * np.random.default_rng(5).standard_normal((2, 3, WIDTH))
    padded = {
        "context": np.concatenate([noise, support["context"]], 1),
        "present": np.concatenate([np.zeros((2, 3)), support["present"]], 1),
    }
    np.testing.assert_allclose(made(maker, meta, padded), rows, atol=1e-5)
    fewer = {"context": support["context"][:, :3], "present": support["present"][:, :3]}
    assert np.abs(made(maker, meta, fewer) - rows).max() > 1e-3


def test_the_chunked_form_does_not_grow_with_the_row_and_the_whole_one_is_refused_above_its_budget() -> None:
    def of(size: int, form: str, **settings: Any) -> Any:
        problem = Problem()
        problem.layout = Layout([Segment("a", (size, 8)), Segment("b", (8, size))])
        return built(form, problem, **settings)

    encoder = 7 * 5 + 5 + 3 * 5 * 5
    assert {of(size, "chunked").size for size in (2, 200, 2000)} == {encoder + 5 * 4 + 2 * 6 + 6 * 4 + 4 + 4 * 3}
    assert of(200, "whole").size == encoder + 5 * 4 + 4 + 4 * 3200
    assert of(200, "whole").size == sum(ops.numpy(x).size for n, x in leaves(of(200, "whole")) if n != "start")
    with pytest.raises(
        RecipeError, match=r"\(whole\) has 12,939 parameters for a row of 3,200 numbers, .* chunked, which"
    ):
        of(200, "whole", budget=10_000)
    assert of(200, "chunked", budget=10_000).size < 10_000
    with pytest.raises(RecipeError, match=r"lower initializer.embedding, hidden or chunk"):
        of(200, "chunked", budget=100)


def leaves(maker: Any) -> Any:
    return ops.flatten(maker.init(np.random.default_rng(0), maker.writer.layout.draw(np.random.default_rng(0))))


@pytest.mark.parametrize("cut", ["", "embed", "write"])
@pytest.mark.parametrize("form", FORMS)
def test_a_derivative_cut_within_the_encoder_or_the_writer_is_caught(form: str, cut: str) -> None:
    parts, theta, support, query = small(
        "sgd", RULES["sgd"], "none", {}, start=("hypernetwork", HYPERNETWORK | {"form": form})
    )
    maker: Any = parts.initializer
    if cut:
        owner = maker.encoder if cut == "embed" else maker.writer
        whole = getattr(owner, cut)
        setattr(owner, cut, lambda meta, *rest: whole(ops.map_tree(ops.stop_gradient, meta), *rest))
    slopes = [e for e in errors("maml", parts, theta, support, query) if e.against == "finite differences"]
    error = next(e.relative_error for e in slopes if e.part == "initializer")
    assert error > 0.5 if cut else error < 1e-2


@pytest.fixture
def recipe(shared: Path, tmp_path: Path) -> Callable[..., Path]:
    def write(layers: str = "1", form: str = "chunked") -> Path:
        path = tmp_path / f"{form}-{layers}.yaml"
        path.write_text(RECIPE % (shared / "models" / "stories260k", layers, form))
        return path

    return write


@pytest.mark.parametrize("layers", ["1", "all"])
@pytest.mark.parametrize("readout", ["prototypes", "labels", "completion"])
def test_texts_are_encoded_by_the_frozen_states_of_their_tokens(recipe: Any, layers: str, readout: str) -> None:
    sets = ["tasks.variant=style", "tasks.shots=5"] if readout == "completion" else ["tasks.shots=3"]
    setup = compose(load_recipe(recipe(layers), [*sets, f"readout={readout}"]))
    try:
        problem: Any = setup.parts.problem
        tasks = setup.recipe.make("tasks").train
        one, two = (tasks.episode(np.random.default_rng(i)) for i in range(2))
        two = Episode("", two.support[:2], two.query, two.labels)
        both = problem.support([one, two])
        base, pad = ops.zeros((1, setup.model.layout.size)), problem.readout.encoder.pad
        for t, episode in enumerate((one, two)):
            alone = problem.support([episode])
            found = []
            for part in alone["parts"]:
                model = setup.model
                states = model.frozen_states(part["tokens"])[1] if layers == "1" else model.hidden(base, part["tokens"])
                for state, tokens in zip(ops.numpy(states), ops.numpy(part["tokens"]), strict=True):
                    mean = state[tokens != pad].mean(0)
                    found.append(mean / np.sqrt((mean**2).mean()))
            context, present = (ops.numpy(both[name])[t] for name in ("context", "present"))
            assert (present > 0).sum() == len(found) > 0
            wanted = np.stack(found)
            for mean in context[present > 0]:  # passes are cut otherwise for two tasks, so the order is another
                assert np.abs(wanted - mean).max(1).min() < 1e-3
        maker = setup.parts.initializer
        theta = {"initializer": drawn(maker, setup.layout)}
        rows = [maker.make(theta, s, n) for s, n in ((both, 2), (problem.support([two]), 1))]
        np.testing.assert_allclose(ops.numpy(rows[0])[1], ops.numpy(rows[1])[0], atol=2e-3)
    finally:
        setup.model.detach()


@pytest.mark.parametrize("form", FORMS)
def test_a_run_trains_its_encoder_and_gives_people_rows_of_their_own(
    recipe: Any, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))

    def melpa(*words: object) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*map(str, words), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    run = tmp_path / "run"
    melpa("meta-train", recipe(form=form), "--out", run)
    numbers = {}
    for user in ("me", "you"):
        texts = [
            (f"{user} {word} {i}", label) for i in range(3) for word, label in (("pay", "home"), ("write", "work"))
        ]
        file = tmp_path / f"{user}.jsonl"
        file.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in texts))
        assert melpa("adapt", "--user", user, "--run", run, "--steps", 0, file)["version"] == 1
        with Store() as store:
            numbers[user] = np.asarray(store.get(user, 1).state.rows, np.float32)
    assert np.abs(numbers["me"] - numbers["you"]).max() > 1e-5
    found = melpa("eval", run, "--episodes", 4, "--methods", "base,meta")
    assert 0 <= found["meta"]["accuracy"] <= 1

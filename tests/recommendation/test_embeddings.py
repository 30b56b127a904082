"""Task embeddings against counts by hand, a closed form, and gradients taken one example at a time."""

from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.recommendation.embeddings import KINDS, distance, encodes, handcrafted, learned, task2vec
from mlx_melpa.recommendation.embeddings.task2vec import fisher
from mlx_melpa.recommendation.similarity import embedded
from mlx_melpa.tasks.sinusoid import SinusoidEpisode

LANGUAGE = """
model: %s
adapter: {kind: lora, rank: 2, layers: 1}
tasks: {kind: synthetic, ways: 2, shots: 3, queries: 1}
readout: %s
rule: sgd
learner: {kind: fomaml, steps: 1}
"""
LINE = """
problem: {kind: regression, hidden: [1], activation: tanh}
tasks: sinusoid
learner: {kind: fomaml, steps: 1}
"""


@pytest.fixture
def setup(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Any:
    path = tmp_path / "r.yaml"
    path.write_text(LANGUAGE % (shared / "models" / "stories260k", request.param))
    found = compose(load_recipe(path))
    yield found
    found.model.detach()


def drawn(setup: Any, seed: int = 0) -> Episode:
    return setup.recipe.make("tasks").train.episode(np.random.default_rng(seed))


@pytest.mark.parametrize("setup", ["prototypes"], indirect=True)
def test_what_is_counted(setup: Any) -> None:
    ids = setup.readout.encoder.ids
    texts = ["the cat", "the cat sat down", "a dog"]
    tokens = [list(ids(text)) for text in texts]
    sizes = [len(t) for t in tokens]
    support = tuple(Example(text, label=label) for text, label in zip(texts, "aab", strict=True))
    mean = sum(sizes) / 3
    wanted = [
        log(3),
        log(1 + mean),
        np.std(sizes) / (1 + mean),
        -(2 / 3) * log(2 / 3) - (1 / 3) * log(1 / 3),
        len({token for t in tokens for token in t}) / sum(sizes),
    ]
    np.testing.assert_allclose(handcrafted(setup, Episode("", support, ())), wanted)
    written = Episode("", (Example("the cat", target="sat down"), Example("", messages=(("user", "a dog"),))), ())
    sizes = [len(ids("the cat\nsat down")), len(ids("a dog"))]
    found = handcrafted(setup, written)
    assert found[1] == pytest.approx(log(1 + np.mean(sizes))) and found[3] == 0


def test_the_fisher_of_a_curve_is_its_closed_form(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(LINE)
    setup = compose(load_recipe(tmp_path / "r.yaml"))
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((11, 1)).astype(np.float32) for _ in range(2))
    episode = SinusoidEpisode(x, y, x, y)
    w, b, v, c = row = rng.standard_normal(4)
    inner = np.tanh(x * w + b)
    away = 2 * (inner * v + c - y)
    slope = (1 - inner**2) * v
    grads = np.concatenate([away * slope * x, away * slope, away * inner, away], 1)
    found = fisher(setup.parts, setup.begin(0), setup.parts.ops.array(row[None]), episode)
    np.testing.assert_allclose(found, (grads**2).mean(0), rtol=1e-4)
    theta = {**setup.begin(0), "initializer": setup.parts.initializer.init(rng, row)}
    np.testing.assert_allclose(task2vec(setup, episode, theta), np.log1p(found / found.mean()), rtol=1e-5)


def gradient(setup: Any, theta: Any, rows: Any, batch: Any) -> np.ndarray:
    """The gradient (P,) of a batch's loss to rows (1, P)."""
    losses = setup.problem.losses
    found: np.ndarray = setup.ops.numpy(setup.ops.grad(lambda r: losses(r, batch, theta["problem"]).sum(), rows))
    return found[0]


@pytest.mark.parametrize("setup", ["completion", "labels"], indirect=True)
def test_the_fisher_is_the_mean_of_squared_gradients_taken_one_by_one(setup: Any) -> None:
    parts, ops = setup.parts, setup.parts.ops
    episode = drawn(setup)
    examples = episode.support
    if not setup.readout.classifies:
        examples = tuple(Example(e.text, target=f"goes to {e.label}") for e in examples)
        episode = Episode("", examples, ())
    rows = ops.array(np.random.default_rng(1).standard_normal((1, setup.layout.size)) * 0.1)
    theta, squares = setup.begin(0), []
    for example in examples:
        alone = parts.problem.support([Episode("", (example,), (), episode.labels)])
        squares.append(gradient(setup, theta, rows, alone) ** 2)
    wanted = np.mean(squares, 0)
    found = fisher(parts, theta, rows, episode)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-5 * wanted.max())


@pytest.mark.parametrize("setup", ["{kind: prototypes, metric_episodes: 0}"], indirect=True)
def test_with_class_means_the_gradients_of_examples_add_up_to_the_tasks(setup: Any) -> None:
    parts, ops = setup.parts, setup.parts.ops
    episode = drawn(setup)
    row, _ = setup.problem.init(np.random.default_rng(1))
    rows, theta = ops.array(row[None] + 0.01), setup.begin(0)
    batch = parts.problem.support([episode])
    whole = gradient(setup, theta, rows, batch)
    each = []
    for i in range(len(episode.support)):
        one = {**batch, "weights": ops.array(np.eye(len(episode.support))[i : i + 1])}
        each.append(gradient(setup, theta, rows, one))
    np.testing.assert_allclose(np.mean(each, 0), whole, rtol=1e-2, atol=1e-4 * np.abs(whole).max())
    wanted = np.square(each).mean(0)
    found = fisher(parts, theta, rows, episode)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-5 * wanted.max())


HYPER = (
    "{kind: prototypes, metric_episodes: 0}\ninitializer: {kind: hypernetwork, embedding: 6, hidden: 4, context: %s}"
)


@pytest.mark.parametrize("setup", [HYPER % "support", HYPER % "both"], indirect=True)
def test_the_learned_one_is_the_encoder_s(setup: Any) -> None:
    parts, ops = setup.parts, setup.parts.ops
    theta = setup.begin(3)
    episode = drawn(setup)
    support = parts.problem.support([episode, drawn(setup, 1)])
    rows = parts.initializer.encoder.embed(theta["initializer"]["encoder"], support["context"], support["present"])
    found = learned(setup, episode, theta)
    assert found.shape == (6,) and encodes(setup)
    np.testing.assert_allclose(found, ops.numpy(rows)[0], rtol=1e-4, atol=1e-5)
    assert distance(found, learned(setup, episode)) > 1e-3, "another theta is another embedding"
    run: Any = SimpleNamespace(setup=setup, theta=theta)
    np.testing.assert_allclose(embedded(run, [episode])["learned"], found[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("setup", ["prototypes"], indirect=True)
def test_without_an_encoder_there_is_no_learned_one(setup: Any) -> None:
    run: Any = SimpleNamespace(setup=setup, theta=setup.begin(0))
    assert not encodes(setup)
    assert set(embedded(run, [drawn(setup)])) == {"handcrafted", "features", "task2vec"}


@pytest.mark.parametrize("setup", [HYPER % "support"], indirect=True)
def test_embeddings_do_not_depend_on_the_order_and_distances_are_of_directions(setup: Any) -> None:
    one, two = drawn(setup, 0), drawn(setup, 1)
    mixed = Episode("", one.support[::-1], (), one.labels)
    for make in KINDS.values():
        a, b, c = make(setup, one), make(setup, mixed), make(setup, two)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())
        assert distance(a, 3 * b) < 1e-5 < distance(a, c) == distance(c, a) <= 1
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == 1

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
def composed(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Any:
    path = tmp_path / "r.yaml"
    path.write_text(LANGUAGE % (shared / "models" / "stories260k", request.param))
    found = compose(load_recipe(path))
    yield found
    found.model.detach()


def drawn(composed: Any, seed: int = 0) -> Episode:
    return composed.recipe.make("tasks").train.episode(np.random.default_rng(seed))


@pytest.mark.parametrize("composed", ["prototypes"], indirect=True)
def test_what_is_counted(composed: Any) -> None:
    ids = composed.readout.encoder.ids
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
    np.testing.assert_allclose(handcrafted(composed, Episode("", support, ())), wanted)
    written = Episode("", (Example("the cat", target="sat down"), Example("", messages=(("user", "a dog"),))), ())
    sizes = [len(ids("the cat\nsat down")), len(ids("a dog"))]
    found = handcrafted(composed, written)
    assert found[1] == pytest.approx(log(1 + np.mean(sizes))) and found[3] == 0


def test_the_fisher_of_a_curve_is_its_closed_form(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(LINE)
    composed = compose(load_recipe(tmp_path / "r.yaml"))
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((11, 1)).astype(np.float32) for _ in range(2))
    episode = SinusoidEpisode(x, y, x, y)
    w, b, v, c = row = rng.standard_normal(4)
    inner = np.tanh(x * w + b)
    away = 2 * (inner * v + c - y)
    slope = (1 - inner**2) * v
    grads = np.concatenate([away * slope * x, away * slope, away * inner, away], 1)
    found = fisher(composed.parts, composed.begin(0), composed.parts.ops.array(row[None]), episode)
    np.testing.assert_allclose(found, (grads**2).mean(0), rtol=1e-4)
    theta = {**composed.begin(0), "initializer": composed.parts.initializer.init(rng, row)}
    np.testing.assert_allclose(task2vec(composed, episode, theta), np.log1p(found / found.mean()), rtol=1e-5)


def gradient(composed: Any, theta: Any, rows: Any, batch: Any) -> np.ndarray:
    """The gradient (P,) of a batch's loss to rows (1, P)."""
    losses = composed.problem.losses
    found: np.ndarray = composed.ops.numpy(composed.ops.grad(lambda r: losses(r, batch, theta["problem"]).sum(), rows))
    return found[0]


@pytest.mark.parametrize("composed", ["completion", "labels"], indirect=True)
def test_the_fisher_is_the_mean_of_squared_gradients_taken_one_by_one(composed: Any) -> None:
    parts, ops = composed.parts, composed.parts.ops
    episode = drawn(composed)
    examples = episode.support
    if not composed.readout.classifies:
        examples = tuple(Example(e.text, target=f"goes to {e.label}") for e in examples)
        episode = Episode("", examples, ())
    rows = ops.array(np.random.default_rng(1).standard_normal((1, composed.layout.size)) * 0.1)
    theta, squares = composed.begin(0), []
    for example in examples:
        alone = parts.problem.support([Episode("", (example,), (), episode.labels)])
        squares.append(gradient(composed, theta, rows, alone) ** 2)
    wanted = np.mean(squares, 0)
    found = fisher(parts, theta, rows, episode)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-5 * wanted.max())


@pytest.mark.parametrize("composed", ["{kind: prototypes, metric_episodes: 0}"], indirect=True)
def test_with_class_means_the_gradients_of_examples_add_up_to_the_tasks(composed: Any) -> None:
    parts, ops = composed.parts, composed.parts.ops
    episode = drawn(composed)
    row, _ = composed.problem.init(np.random.default_rng(1))
    rows, theta = ops.array(row[None] + 0.01), composed.begin(0)
    batch = parts.problem.support([episode])
    whole = gradient(composed, theta, rows, batch)
    each = []
    for i in range(len(episode.support)):
        one = {**batch, "weights": ops.array(np.eye(len(episode.support))[i : i + 1])}
        each.append(gradient(composed, theta, rows, one))
    np.testing.assert_allclose(np.mean(each, 0), whole, rtol=1e-2, atol=1e-4 * np.abs(whole).max())
    wanted = np.square(each).mean(0)
    found = fisher(parts, theta, rows, episode)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-5 * wanted.max())


HYPER = (
    "{kind: prototypes, metric_episodes: 0}\ninitializer: {kind: hypernetwork, embedding: 6, hidden: 4, context: %s}"
)


@pytest.mark.parametrize("composed", [HYPER % "support", HYPER % "both"], indirect=True)
def test_the_learned_one_is_the_encoder_s(composed: Any) -> None:
    parts, ops = composed.parts, composed.parts.ops
    theta = composed.begin(3)
    episode = drawn(composed)
    support = parts.problem.support([episode, drawn(composed, 1)])
    rows = parts.initializer.encoder.embed(theta["initializer"]["encoder"], support["context"], support["present"])
    found = learned(composed, episode, theta)
    assert found.shape == (6,) and encodes(composed)
    np.testing.assert_allclose(found, ops.numpy(rows)[0], rtol=1e-4, atol=1e-5)
    assert distance(found, learned(composed, episode)) > 1e-3, "another theta is another embedding"
    run: Any = SimpleNamespace(composed=composed, theta=theta)
    np.testing.assert_allclose(embedded(run, [episode])["learned"], found[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("composed", ["prototypes"], indirect=True)
def test_without_an_encoder_there_is_no_learned_one(composed: Any) -> None:
    run: Any = SimpleNamespace(composed=composed, theta=composed.begin(0))
    assert not encodes(composed)
    assert set(embedded(run, [drawn(composed)])) == {"handcrafted", "features", "task2vec"}


@pytest.mark.parametrize("composed", [HYPER % "support"], indirect=True)
def test_embeddings_do_not_depend_on_the_order_and_distances_are_of_directions(composed: Any) -> None:
    one, two = drawn(composed, 0), drawn(composed, 1)
    mixed = Episode("", one.support[::-1], (), one.labels)
    for make in KINDS.values():
        a, b, c = make(composed, one), make(composed, mixed), make(composed, two)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())
        assert distance(a, 3 * b) < 1e-5 < distance(a, c) == distance(c, a) <= 1
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == 1

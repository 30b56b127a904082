"""Learners on streams of tasks, against the stream written plainly and closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import references as verify
from toys import streams as verify_streams
from toys.parts import REGULARIZERS, RULES, small

from mlx_melpa.benchmarks.continual.methods.method import Initialization, encode_task
from mlx_melpa.benchmarks.continual.methods.naive import Naive
from mlx_melpa.benchmarks.continual.tasks import Task
from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.evaluation.streams import measure_streams, prepare
from mlx_melpa.learners import KINDS
from mlx_melpa.tasks.sinusoid import sinusoid
from mlx_melpa.tasks.streams import Streams

STEPS, TASKS = 2, 3
WORDS = [("cat", "dog"), ("red", "blue"), ("north", "south")]


def curves(parts: Components, length: int = TASKS) -> tuple[Any, Any]:
    source = Streams(sinusoid(shots=5, queries=4).train, length, "training")
    return prepare(parts.problem, [source.episode(np.random.default_rng([1, i])) for i in range(2)])


def sentences(place: int, seed: int) -> Episode:
    """Two labels with three examples each to learn from and two to be asked about; another word order every seed."""
    rng = np.random.default_rng([place, seed])
    made = [
        Example(f"the {word} was number {rng.integers(99)} of {rng.integers(99)}", label=word)
        for word in WORDS[place]
        for _ in range(5)
    ]
    support = tuple(e for i, e in enumerate(made) if i % 5 < 3)
    return Episode(str(place), support, tuple(e for e in made if e not in support), WORDS[place])


@pytest.fixture(scope="module")
def language(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds a tiny model's parts with a readout, and a theta away from its zeros."""
    folder = tmp_path_factory.mktemp("recipes")

    def built(readout: str, rule: str = "{kind: meta_sgd, lr: 0.3}", backend: str = "mlx") -> Any:
        path = folder / "tiny.yaml"
        path.write_text(
            f"model: {shared}/models/stories260k\n"
            "adapter: {kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}\n"
            f"tasks: {{kind: synthetic}}\nreadout: {readout}\nrule: {rule}\nlearner: maml\nbackend: {backend}\n"
        )
        setup = compose(load_recipe(path))
        theta = setup.begin(0)
        rng = np.random.default_rng(1)
        start = setup.parts.ops.numpy(theta["initializer"]["start"])
        theta["initializer"]["start"] = setup.parts.ops.array(start + 0.05 * rng.standard_normal(start.shape))
        return setup, theta

    return built


def assert_plain(
    parts: Components, theta: Any, supports: Any, questions: Any, steps: int = STEPS, rounding: float = 0.0
) -> None:
    """maml is the unrolled stream, fomaml the one whose inner gradients are held constant."""
    wanted = parts.ops.numpy(verify_streams.losses(parts, theta, supports, questions, steps, adapt.step))
    for learner, definition, limit in (
        ("maml", verify_streams.unrolled, 1e-5),
        ("fomaml", verify_streams.held_constant, 1e-6),
    ):
        losses, gradient = KINDS[learner](parts, steps=steps).meta_grad(theta, supports, questions)
        np.testing.assert_allclose(parts.ops.numpy(losses), wanted, rtol=1e-5)
        plain = definition(parts, theta, supports, questions, steps)
        assert max(verify.difference(gradient, plain, parts.ops).values()) < max(limit, rounding), learner


@pytest.mark.parametrize("backend", ["mlx", "torch"])
@pytest.mark.parametrize(
    ("rule", "regularizer"), [("meta_sgd", "none"), ("adam", "none"), ("lslr", "l2"), ("learned", "l2")]
)
def test_the_walk_is_the_plain_stream(rule: str, regularizer: str, backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    parts, theta, _, _ = small(rule, RULES[rule], regularizer, REGULARIZERS[regularizer], backend=backend)
    assert_plain(parts, theta, *curves(parts))


@pytest.mark.parametrize("backend", ["mlx", "torch"])
@pytest.mark.parametrize("readout", ["{kind: prototypes, metric: learned}", "{kind: labels, words: letters}"])
def test_the_walk_goes_through_what_is_kept_of_a_task(readout: str, backend: str, language: Any) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    setup, theta = language(readout, backend=backend)
    streams = [tuple(sentences(place, seed) for place in (0, 1, 2)) for seed in (0, 1)]
    # torch's fused attention, which the walk may take, rounds otherwise than the one that a whole stream needs
    rounding = 3e-5 if backend == "torch" else 0.0
    assert_plain(setup.parts, theta, *prepare(setup.parts.problem, streams), rounding=rounding)
    setup.model.detach()


def test_finite_differences_reach_start_rates_and_strength() -> None:
    parts, theta, _, _ = small("meta_sgd", {"lr": 0.05}, "l2", {"strength": 0.5, "learn": True})
    supports, questions = curves(parts)
    gradient = KINDS["maml"](parts, steps=STEPS).meta_grad(theta, supports, questions)[1]
    loss = verify_streams.outer_loss(parts, supports, questions, STEPS)
    found = dict(verify.slopes(loss, theta, gradient, parts.ops, np.random.default_rng(0)))
    assert found.keys() == {"initializer.start", "rule.lr", "regularizer.log_strength"}
    assert max(found.values()) < 1e-2


def test_a_stream_of_one_task_is_that_task(language: Any) -> None:
    setup, theta = language("{kind: prototypes, metric: learned}")
    parts, episodes = setup.parts, [sentences(0, 0), sentences(0, 1)]
    for learner in ("maml", "fomaml"):
        built = KINDS[learner](parts, steps=STEPS)
        losses, single = built.meta_grad(theta, *parts.problem.prepare(episodes))
        same, stream = built.meta_grad(theta, *prepare(parts.problem, [(e,) for e in episodes]))
        np.testing.assert_allclose(parts.ops.numpy(same), parts.ops.numpy(losses), rtol=1e-5)
        assert max(verify.difference(stream, single, parts.ops).values()) < 1e-4, learner
    setup.model.detach()


def test_every_task_begins_with_the_rates_of_the_first_step() -> None:
    parts, theta, _, _ = small("lslr", {"lr": 0.05, "steps": STEPS * TASKS}, "none", {})
    for learner in ("maml", "fomaml"):
        gradient = KINDS[learner](parts, steps=STEPS).meta_grad(theta, *curves(parts))[1]
        rates = np.abs(parts.ops.numpy(gradient["rule"]["lr"])).max(1)
        assert (rates[:STEPS] > 0).all() and not rates[STEPS:].any()


@pytest.mark.parametrize("readout", ["{kind: prototypes, metric: plain}", "{kind: labels, words: letters}"])
@pytest.mark.parametrize("rule", ["{kind: adam, lr: 0.02}", "{kind: meta_sgd, lr: 0.3}"])
def test_training_sees_what_the_continual_benchmark_sees(readout: str, rule: str, language: Any) -> None:
    setup, theta = language(readout, rule)
    parts, episodes = setup.parts, [sentences(place, 0) for place in (2, 0, 1)]
    encoded = [encode_task(parts, Task(e.name, e.labels, e.support, e.query)) for e in episodes]
    method = Naive(Initialization(setup, theta), steps=STEPS, seed=0, tasks=3)
    state, learned = method.begin(), []
    for one in encoded:
        state = method.learn(state, [one])
        learned.append(true_class(method, state, one))
    wanted = [true_class(method, state, one) for one in encoded]
    found = measure_streams(parts, theta, [tuple(episodes)], STEPS)
    # the benchmark rounds class means to half precision
    assert found["loss"][0] == pytest.approx(np.mean([loss for loss, _ in wanted]), rel=2e-3)
    assert found["accuracy"][0] == pytest.approx(np.mean([right for _, right in wanted]), abs=0.26 / 3)
    lost = [after[1] - before[1] for after, before in zip(wanted[:-1], learned[:-1], strict=True)]
    assert found["bwt"][0] == pytest.approx(np.mean(lost), abs=0.26 / 2)
    supports, _ = prepare(parts.problem, [tuple(episodes)])
    ends = list(adapt.in_turn(parts, theta, supports, STEPS))
    np.testing.assert_allclose(
        parts.ops.numpy(ends[-1]["rows"]), parts.ops.numpy(state.rows), atol=1e-6, err_msg="rows end elsewhere"
    )
    setup.model.detach()


def true_class(method: Any, state: Any, asked: Any) -> tuple[float, float]:
    """The mean loss and the accuracy on a task's test examples as `melpa bench continual` asks for them."""
    likely = method.ops.numpy(method.predict(state, asked))[0]
    truth = method.ops.numpy(asked.test["onehot"])[0].argmax(-1)
    return float(-np.log(likely[np.arange(len(truth)), truth]).mean()), float((likely.argmax(-1) == truth).mean())


def test_memory_grows_by_the_kept_states_alone() -> None:
    parts, theta, _, _ = small("meta_sgd", {"lr": 0.05}, "none", {})
    ops, learner = parts.ops, KINDS["maml"](parts, steps=4)

    def peak(length: int) -> int:
        supports, questions = curves(parts, length)
        ops.evaluate(theta, supports, questions)
        ops.reset_peak_memory()
        before = ops.peak_memory()
        learner.meta_grad(theta, supports, questions)
        return int(ops.peak_memory() - before)

    one, many = peak(1), peak(6)
    row = 4 * 2 * parts.problem.layout.size
    assert many - one <= 1.5 * 5 * 4 * 2 * row, "states and inner gradients of five more tasks"

"""The numbers of a few-shot table: intervals, break-even, counted operations, examples in context."""

from itertools import product

import numpy as np
import pytest

from mlx_melpa.bench.few_shot_costs import counted
from mlx_melpa.bench.few_shot_estimate import search
from mlx_melpa.bench.few_shot_report import break_even
from mlx_melpa.bench.few_shot_settings import Ground
from mlx_melpa.bench.multi_task import multi_task
from mlx_melpa.compose import Composition
from mlx_melpa.evaluate import interval
from mlx_melpa.in_context import InContext, Trial
from mlx_melpa.intervals import crossed, quantile
from mlx_melpa.recipe import load_recipe
from mlx_melpa.types import Episode, Example


def episode() -> Episode:
    support = [Example(f"the {noun} is here", label=noun) for noun in ("cat", "dog", "cat", "dog")]
    return Episode("pets", tuple(support), (Example("a cat", label="cat"),), ("dog", "cat"))


@pytest.mark.parametrize(("freedom", "wanted"), [(1, 12.706), (2, 4.303), (7, 2.365), (12, 2.179), (1e9, 1.960)])
def test_quantiles_are_student_s(freedom: float, wanted: float) -> None:
    assert quantile(freedom) == pytest.approx(wanted, rel=2e-3)


def test_one_seed_has_the_interval_of_its_episodes() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2000))
    assert crossed(x)["ci95"] == pytest.approx(interval(x[0]), rel=1e-3)
    assert crossed(np.ones((3, 5))) == {"mean": 1.0, "ci95": 0.0}


@pytest.mark.parametrize(("seeds", "spread"), [(3, 1.0), (3, 0.0), (5, 0.3)])
def test_intervals_hold_what_they_promise(seeds: int, spread: float) -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(1000):
        x = spread * rng.standard_normal((seeds, 1)) + rng.standard_normal(40) + rng.standard_normal((seeds, 40))
        found = crossed(x)
        inside += abs(found["mean"]) <= found["ci95"]
    assert inside / 1000 >= 0.91, "three seeds say little, and the degrees of freedom are estimates"


def test_break_even_counts_the_search() -> None:
    start = {"tuning": 40.0, "costs": {"seconds": 3.0}}
    assert break_even({"training": 100.0, "seconds": 1.0}, start) == 30  # 100 + 30 = 40 + 90
    assert break_even({"training": 100.0, "seconds": 3.0}, start) is None
    assert break_even({"training": 100.0, "tuning": 20.0, "seconds": 1.0}, start) == 40
    assert break_even({"training": 30.0, "seconds": 1.0}, start) == 0
    assert break_even({"training": 30.0, "seconds": 5.0}, start) is None  # ahead at first, and behind for good


def test_operations_by_hand(composed: Composition) -> None:
    """stories260k: d 64, feed-forward 172, k and v 32 wide; LoRA on the last v alone: nothing below moves."""
    support = composed.parts.problem.support([episode()])
    tokens = [part["tokens"].shape for part in support["parts"]]
    block = sum(2 * b * n * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 172) + 4 * b * n * n * 64 for b, n in tokens)
    assert counted(composed, support, 0, means=True) == 5 * block
    one = counted(composed, support, 1, means=False)
    two = counted(composed, support, 2, means=False)
    assert one is not None and two is not None
    # back: the mixture to v, then o, gate, up and down
    back = sum(2 * b * n * (64 * 64 + 3 * 64 * 172) + 2 * b * n * n * 64 for b, n in tokens)
    lora = sum(2 * b * n * 2 * (64 + 32) + 4 * b * n * 2 * 32 + 2 * b * n * 64 * 2 for b, n in tokens)
    assert two - one == block + back + lora
    assert one - (two - one) == 4 * block, "the frozen blocks, once"


def test_examples_stand_before_the_question_and_fit(composed: Composition) -> None:
    asked = InContext(composed)
    text = asked.labelled(episode(), 1).query[0].text
    assert text == "the cat is here\nLabel: cat\n\nthe dog is here\nLabel: dog\n\na cat"
    assert asked.labelled(episode(), 0).query[0].text == "a cat"
    full = len(asked.head.encoder.ids(text)) + 20
    asked.head.encoder.max_length = full
    assert asked.labelled(episode(), 2).query[0].text == text, "two of each are too long, one of each fits"
    assert asked.trials(1) == [Trial(1, False), Trial(1, True)]
    assert {trial.examples for trial in asked.trials(5)} == {1, 2, 5}


def test_a_calibrated_answer_is_relative_to_a_question_without_content(composed: Composition) -> None:
    asked = InContext(composed)
    plain, calibrated = asked.both(Episode("n", episode().support, (Example("N/A", label="cat"),), ("dog", "cat")), 1)
    assert calibrated["loss"][0] == pytest.approx(np.log(2), rel=1e-4)
    assert plain["loss"][0] != pytest.approx(np.log(2), rel=1e-3)


def test_examples_that_are_read_once_give_the_answers_of_those_read_before_each_question(composed: Composition) -> None:
    asked = InContext(composed)
    ops, head, labelled = composed.parts.ops, asked.head, asked.labelled(episode(), 2)
    ids, scores = head.encoder.ids, np.zeros((2, 2))
    prompts = [(*head.encoder.first, *ids(example.text), *ids("\nLabel:")) for example in labelled.query]
    for (e, prompt), (c, word) in product(enumerate(prompts), enumerate(map(ids, (" dog", " cat")))):
        tokens = ops.array([[*prompt, *word]])
        z = ops.numpy(composed.model.logits(asked.rows, tokens, ops.array(np.arange(tokens.shape[1]))))
        said = z.astype(np.float64) - np.log(np.exp(z.astype(np.float64)).sum(-1, keepdims=True))
        scores[e, c] = np.mean([said[len(prompt) - 1 + i, token] for i, token in enumerate(word)])
    wanted = [np.log(np.exp(z).sum()) - z[1] for z in (scores[0], scores[0] - scores[1])]
    found = asked.both(episode(), 2)
    np.testing.assert_allclose([float(one["loss"][0]) for one in found], wanted, atol=2e-4)


def test_multi_task_has_no_inner_loop_and_learns_the_start_alone(composed: Composition) -> None:
    found = multi_task(composed.recipe).resolved
    assert found["learner"] == {"kind": "fomaml", "steps": 0} and found["rule"]["kind"] == "adam"
    for key in ("model", "adapter", "readout", "tasks"):
        assert found[key] == composed.recipe.resolved[key]


def test_a_search_is_counted_from_its_marks() -> None:
    # 12 episodes: 5 rates to 30 steps, 3 to 50, 2 to 100; then 60: twice 2 steps, twice 30 and two marks on
    steps = 12 * (5 * 30 + 3 * 20 + 2 * 50) + 60 * (2 * 2 + 2 * 75)
    assert search(60, 2, ready=0.0, step=1.0, asking=0.0) == steps
    assert search(60, 2, ready=1.0, step=0.0, asking=0.0) == 12 + 60


def test_a_context_is_as_long_as_its_base_says(composed: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(composed.base.config, "max_position_embeddings", raising=False)
    monkeypatch.setitem(composed.base.config, "n_positions", 96)
    assert InContext(composed).head.encoder.max_length == 96


def test_what_proto_maml_is_held_against_has_its_head() -> None:
    recipe, plain = load_recipe("proto-maml"), load_recipe("proto-maml", ["initializer=universal"])
    starts = [multi_task(each).resolved["initializer"]["kind"] for each in (recipe, plain)]
    assert starts == ["prototype", "universal"] and Ground(recipe, ()).key != Ground(plain, ()).key

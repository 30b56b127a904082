"""The numbers of a few-shot table: intervals, break-even, counted operations, examples in context."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from mlx_melpa.benchmarks.few_shot.jobs import Setting
from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import Recipe, load_recipe, recipe_of
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.evaluation.baselines.in_context import InContext, InContextSettings
from mlx_melpa.evaluation.baselines.multi_task import multi_task
from mlx_melpa.evaluation.costs import count_flops
from mlx_melpa.evaluation.curves import interval
from mlx_melpa.evaluation.intervals import crossed, quantile


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


def test_operations_by_hand(setup: Setup) -> None:
    """stories260k: d 64, feed-forward 172, k and v 32 wide; LoRA on the last v alone: nothing below moves."""
    support = setup.parts.problem.support([episode()])
    tokens = [part["tokens"].shape for part in support["parts"]]
    block = sum(2 * b * n * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 172) + 4 * b * n * n * 64 for b, n in tokens)
    assert count_flops(setup, support, 0, means=True) == 5 * block
    one = count_flops(setup, support, 1, means=False)
    two = count_flops(setup, support, 2, means=False)
    assert one is not None and two is not None
    # back: the mixture to v, then o, gate, up and down
    back = sum(2 * b * n * (64 * 64 + 3 * 64 * 172) + 2 * b * n * n * 64 for b, n in tokens)
    lora = sum(2 * b * n * 2 * (64 + 32) + 4 * b * n * 2 * 32 + 2 * b * n * 64 * 2 for b, n in tokens)
    assert two - one == block + back + lora
    assert one - (two - one) == 4 * block, "the frozen blocks, once"


def test_operations_of_a_prefix_and_a_prompt_by_hand(setup: Setup) -> None:
    """A prefix of 3 at the last of 5 blocks; a prompt of 3 before all. stories260k: d 64, 8 heads 8 wide, as above."""
    support = setup.parts.problem.support([episode()])
    tokens = [part["tokens"].shape for part in support["parts"]]
    frozen, last, step = 0, 0, 0
    for b, n in tokens:
        linear = 2 * b * n * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 172)
        frozen += 4 * (linear + 4 * b * n * n * 64)
        last += linear + 4 * b * n * (n + 3) * 64
        # back through o, gate, up and down to the mixture, and from there to the scores, the keys and the values
        step += 2 * b * n * (64 * 64 + 3 * 64 * 172) + 3 * 2 * b * n * (n + 3) * 64
    prefix = compose(changed(setup, {"kind": "prefix", "length": 3, "layers": 1}))
    assert count_flops(prefix, support, 1, means=False) == frozen + last + step
    assert count_flops(prefix, support, 2, means=True) == frozen + 2 * (last + step) + last

    whole = sum(2 * b * (n + 3) * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 172) for b, n in tokens)
    attended = sum(4 * b * (n + 3) ** 2 * 64 for b, n in tokens)
    prompt = compose(changed(setup, {"kind": "prompt", "tokens": 3}))
    assert count_flops(prompt, support, 1, means=False) == 5 * (2 * whole + 3 * attended), (
        "all that moves, forth and back"
    )


def test_operations_of_a_bottleneck_and_of_whole_weights_by_hand(setup: Setup) -> None:
    support = setup.parts.problem.support([episode()])
    tokens = sum(math.prod(part["tokens"].shape) for part in support["parts"])
    lower = count_flops(setup, support, 0, means=True)
    bottleneck = compose(changed(setup, {"kind": "bottleneck", "width": 4, "layers": 1}))
    one = count_flops(bottleneck, support, 1, means=False)
    assert lower is not None and one is not None
    # after the last feed-forward: two products forth, two to its factors, one between them, none to what is still
    assert one - lower == 5 * 2 * tokens * 64 * 4
    full = compose(changed(setup, {"kind": "full", "sites": ["down_proj"], "layers": 1}))
    whole = count_flops(full, support, 1, means=False)
    assert whole is not None and whole - lower == 2 * 2 * tokens * 172 * 64


def changed(setup: Setup, adapter: dict[str, Any]) -> Recipe:
    """The recipe with another adapter."""
    return recipe_of({**setup.recipe.resolved, "adapter": adapter}, "changed")


def test_examples_stand_before_the_question_and_fit(setup: Setup) -> None:
    asked = InContext(setup)
    text = asked.with_labelled(episode(), 1).query[0].text
    assert text == "the cat is here\nLabel: cat\n\nthe dog is here\nLabel: dog\n\na cat"
    assert asked.with_labelled(episode(), 0).query[0].text == "a cat"
    full = len(asked.head.encoder.ids(text)) + 20
    asked.head.encoder.max_length = full
    assert asked.with_labelled(episode(), 2).query[0].text == text, "two of each are too long, one of each fits"
    assert asked.options(1) == [InContextSettings(1, False), InContextSettings(1, True)]
    assert {option.examples for option in asked.options(5)} == {1, 2, 5}


def test_a_calibrated_answer_is_relative_to_a_question_without_content(setup: Setup) -> None:
    asked = InContext(setup)
    plain, calibrated = asked.measure_both(
        Episode("n", episode().support, (Example("N/A", label="cat"),), ("dog", "cat")), 1
    )
    assert calibrated["loss"][0] == pytest.approx(np.log(2), rel=1e-4)
    assert plain["loss"][0] != pytest.approx(np.log(2), rel=1e-3)


def test_examples_that_are_read_once_give_the_answers_of_those_read_before_each_question(setup: Setup) -> None:
    asked = InContext(setup)
    ops, head, labelled = setup.parts.ops, asked.head, asked.with_labelled(episode(), 2)
    ids, scores = head.encoder.ids, np.zeros((2, 2))
    prompts = [(*head.encoder.first, *ids(example.text), *ids("\nLabel:")) for example in labelled.query]
    for (e, prompt), (c, word) in product(enumerate(prompts), enumerate(map(ids, (" dog", " cat")))):
        tokens = ops.array([[*prompt, *word]])
        z = ops.numpy(setup.model.logits(asked.rows, tokens, ops.array(np.arange(tokens.shape[1]))))
        said = z.astype(np.float64) - np.log(np.exp(z.astype(np.float64)).sum(-1, keepdims=True))
        scores[e, c] = np.mean([said[len(prompt) - 1 + i, token] for i, token in enumerate(word)])
    wanted = [np.log(np.exp(z).sum()) - z[1] for z in (scores[0], scores[0] - scores[1])]
    found = asked.measure_both(episode(), 2)
    np.testing.assert_allclose([float(one["loss"][0]) for one in found], wanted, atol=2e-4)


def test_multi_task_has_no_inner_loop_and_learns_the_start_alone(setup: Setup) -> None:
    found = multi_task(setup.recipe).resolved
    assert found["learner"] == {"kind": "fomaml", "steps": 0} and found["rule"]["kind"] == "adam"
    for key in ("model", "adapter", "readout", "tasks"):
        assert found[key] == setup.recipe.resolved[key]


def test_a_context_is_as_long_as_its_base_says(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(setup.base.config, "max_position_embeddings", raising=False)
    monkeypatch.setitem(setup.base.config, "n_positions", 96)
    assert InContext(setup).head.encoder.max_length == 96


def test_what_proto_maml_is_held_against_has_its_head() -> None:
    recipe, plain = load_recipe("proto-maml"), load_recipe("proto-maml", ["initializer=universal"])
    starts = [multi_task(each).resolved["initializer"]["kind"] for each in (recipe, plain)]
    assert starts == ["proto_head", "universal"] and Setting(recipe, ()).key != Setting(plain, ()).key

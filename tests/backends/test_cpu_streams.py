"""Two lanes on a CPU: the same numbers as one, in whatever thread, and gradients that stay in their lane."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.data.tokens import TOKENS, cuts

SCRIPT = """
import json, sys, threading
import numpy as np
from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import recipe_of

def found(kind, readout):
    tasks = {"kind": "synthetic", "variant": kind, "shots": 3, "queries": 2}
    tree = {"model": "pocket", "adapter": {"kind": "lora", "layers": 3}, "tasks": tasks, "readout": readout,
            "rule": {"kind": "sgd", "lr": 0.1}, "learner": {"kind": "maml", "steps": 1}}
    made = compose(recipe_of(tree, "lanes"))
    rng, ops = np.random.default_rng(0), made.parts.ops
    splits = made.recipe.make("tasks")
    support, query = made.parts.problem.prepare([splits.train.episode(rng) for _ in range(2)])
    theta = made.begin(0)
    losses, gradient = made.learner.meta_grad(theta, support, query)
    made.model.detach()
    numbers = [ops.numpy(leaf).reshape(-1) for _, leaf in ops.flatten(gradient)]
    return ops.LANES, len(support["parts"]), ops.numpy(losses).tolist(), np.concatenate(numbers)

out = {}
def work():
    for kind, readout in (("style", {"kind": "completion"}), ("people", {"kind": "prototypes", "metric": "plain"})):
        lanes, parts, losses, gradient = found(kind, readout)
        out[kind] = {"lanes": lanes, "parts": parts, "losses": losses}
        np.save(sys.argv[1] + kind, gradient)

def elsewhere():
    work()
    from mlx.core import clear_streams
    clear_streams()

work()
first = json.dumps(out)
out.clear()
again = threading.Thread(target=elsewhere)
again.start(); again.join()
assert json.dumps(out) == first, "another thread, other numbers"
print(first)
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac computes on its GPU, in one lane")
def test_two_lanes_find_what_one_finds(tmp_path: Path) -> None:
    said = {}
    for threads in (1, 2):
        env = {**os.environ, "MKL_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", SCRIPT, f"{tmp_path}/{threads}-"]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        said[threads] = json.loads(done.stdout)
    for kind in ("style", "people"):
        one, two = said[1][kind], said[2][kind]
        assert (one["lanes"], two["lanes"]) == (1, 2) and two["parts"] >= 2
        np.testing.assert_allclose(one["losses"], two["losses"], rtol=1e-5)
        a, b = (np.load(f"{tmp_path}/{threads}-{kind}.npy") for threads in (1, 2))
        assert np.linalg.norm(a) > 0
        assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(a)


def test_cuts_for_two_lanes_end_together() -> None:
    alike = np.full((1, 10), 40)
    assert cuts(alike) == [10]
    assert cuts(alike, lanes=2) == [5, 10]
    uneven = np.array([[10] * 12 + [60] * 2])
    ends = cuts(uneven, lanes=2)
    tokens = [(b - a) * int(uneven[0, b - 1]) for a, b in zip([0, *ends], ends, strict=False)]
    assert max(sum(tokens[0::2]), sum(tokens[1::2])) <= 0.6 * 14 * 60
    assert cuts(np.array([[7]]), lanes=2) == [1]


def test_many_examples_are_cut_by_what_a_pass_may_hold() -> None:
    lengths = np.sort(np.random.default_rng(0).integers(1, 100, (2, 3000)))
    ends = cuts(lengths, lanes=2)
    longest = lengths.max(0)
    held = [2 * (end - start) * int(longest[end - 1]) for start, end in pairwise([0, *ends])]
    assert ends[-1] == 3000 and max(held) <= TOKENS < min(a + b for a, b in pairwise(held))
    assert cuts(np.full((1, 300), 2 * TOKENS)) == list(range(1, 301))

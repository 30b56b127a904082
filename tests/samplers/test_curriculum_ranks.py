"""Two ranks share the scoring of a pool and a hypernetwork's training, and end with the weights of one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

BIN = Path(sys.executable).parent
RECIPE = """
backend: %s
problem: {kind: regression, hidden: [10], activation: tanh}
tasks: {kind: sinusoid, shots: 5, queries: 5}
initializer: {kind: hypernetwork, form: chunked, embedding: 8, hidden: 8, chunk: 8}
sampler: {kind: curriculum, pool: 3}
rule: {kind: sgd, lr: 0.01}
learner: {kind: maml, steps: 1}
train: {iterations: 10, tasks_per_step: 5, checkpoint_every: 5, validate_every: 10, validation_episodes: 4, seed: 3}
"""
without_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="pip install 'mlx-melpa[torch]'")


@pytest.mark.skipif(not (BIN / "mlx.launch").is_file(), reason="mlx.launch is not beside this Python")
@pytest.mark.parametrize("backend", ["mlx", pytest.param("torch", marks=without_torch)])
def test_two_ranks_give_the_weights_of_one(backend: str, tmp_path: Path) -> None:
    program, recipe, port = tmp_path / "melpa.py", tmp_path / "r.yaml", str(20_000 + os.getpid() % 20_000)
    program.write_text("from melpa_cli.main import app; app()")
    recipe.write_text(RECIPE % backend)
    launchers = {
        "mlx": [str(BIN / "mlx.launch"), "-n", "2", "--starting-port", port, "--python", sys.executable],
        "torch": [str(BIN / "torchrun"), "--nproc-per-node", "2", "--master-port", port, "--"],
    }
    env = {**os.environ, "MELPA_HOME": str(tmp_path / "home"), "MELPA_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    ends = []
    for name, launcher in (("one", [sys.executable]), ("two", launchers[backend])):
        command = [*launcher, str(program), "meta-train", str(recipe), "--out", str(tmp_path / name), "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180)
        assert (tmp_path / name / "theta.safetensors").is_file(), done.stdout + done.stderr
        ends.append(load_file(tmp_path / name / "theta.safetensors"))
    assert np.abs(ends[0]["initializer.writer.leave"]).max() > 0
    for name, values in ends[0].items():
        np.testing.assert_allclose(ends[1][name], values, rtol=1e-3, atol=1e-5)

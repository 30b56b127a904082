"""Importing the library changes none of MLX's functions; loading a base on a CPU does, and it can be undone."""

import subprocess
import sys

import mlx.core as mx
import mlx.nn as nn
import pytest

from mlx_melpa.backends.mlx import install, uninstall
from mlx_melpa.backends.mlx.patches import CPU
from mlx_melpa.config.build import engine, part_of

IMPORTS = """
import sys
import mlx_melpa.backends.mlx
import mlx.core as mx, mlx.nn as nn
def functions():
    modules = (mx, mx.fast, mx.linalg, mx.random, nn, nn.losses)
    return {f"{m.__name__}.{n}": f for m in modules for n, f in vars(m).items()}
before, traced = functions(), []
import mlx_melpa.api
assert {n for n in sys.modules if n.startswith("mlx_melpa.")} >= {"mlx_melpa.personal.adaptation"}
from mlx_melpa.backends.mlx import adapted, attention, generate, model, ops, shared_prompt
after = functions()
assert {n for n in before if before[n] is not after[n]} == set()
compiled = mx.compile(lambda x: traced.append(x) or x @ x)
for _ in range(3):
    mx.eval(compiled(mx.ones((2, 2))))
assert len(traced) == 1, "mx.compile is off"
"""


def test_importing_the_api_leaves_mlx_as_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]


def _traces() -> int:
    traced: list[mx.array] = []

    def product(x: mx.array) -> mx.array:
        traced.append(x)
        return x @ x

    compiled = mx.compile(product)
    for _ in range(3):
        mx.eval(compiled(mx.ones((2, 2))))
    return len(traced)


def _functions() -> list[object]:
    return [nn.silu, nn.gelu_approx, mx.fast.scaled_dot_product_attention]


@pytest.mark.skipif(not CPU, reason="a GPU keeps MLX's activations and mx.compile")
def test_loading_a_base_on_a_cpu_installs_and_uninstall_restores() -> None:
    uninstall()
    own = _functions()
    assert _traces() == 1
    try:
        part_of("mlx", "model").load("pocket")
        ours = _functions()
        assert [a is b for a, b in zip(own, ours, strict=True)] == [False] * 3
        assert _traces() == 3
        install()
        assert _functions() == ours
        uninstall()
        uninstall()
        assert _functions() == own
        assert _traces() == 1
        engine("mlx")
        assert _functions() == ours
    finally:
        install()

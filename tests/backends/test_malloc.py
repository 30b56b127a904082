"""The heap that keeps what MLX frees holds its size through many different lengths, and can be emptied."""

import platform
import subprocess
import sys

import mlx.core as mx
import pytest

from mlx_melpa.backends.mlx import ops

SCRIPT = """
import os, random
from mlx_melpa.backends.mlx import malloc, ops
import mlx.core as mx

malloc.keep()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def step(length):
    x = mx.random.normal((8, length, 96))
    mx.eval(mx.grad(lambda y: ops.log_sum_exp(ops.softmax(y * y) @ ops.swap(y)).sum())(x))

random.seed(0)
lengths = random.sample(range(8, 1008), 1000)
at = []
for i, length in enumerate(sorted(lengths[:500]) + lengths[500:]):
    step(length % 256 + 8)
    if i in (499, 999):
        at.append(resident())
ops.clear_cache()
print(*at, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_a_thousand_lengths_hold_their_memory() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    half, whole, emptied = map(float, done.stdout.split())
    assert whole < 1.1 * half
    assert emptied < whole


def test_a_bound_of_the_cache_is_never_raised() -> None:
    found = mx.set_cache_limit(5000)
    try:
        ops.limit_cache(9000)
        assert mx.set_cache_limit(5000) == 5000
        ops.limit_cache(3000)
        assert mx.set_cache_limit(5000) == 3000
    finally:
        mx.set_cache_limit(found)

"""Roofline of the inner step: its operations per second against the matrix product rate, and the other costs."""

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

from ...backends.mlx import mx, nn
from ...core import inner_loop
from ...core.engine import Engine
from ...core.progress import Advance
from ...core.types import Json
from ...evaluation.flops import Product, Work, flops, names, products
from ...pocket import fit
from .fixtures import on_numbers, random_batch, random_llama, random_theta
from .settings import Settings, number

GOAL_PERCENT = 50.0
LARGE = fit.Size(vocabulary=32000, width=640, layers=8, heads=10, kv_heads=10, feed_forward=1792, context=256)
"""A llama of 61 million weights."""
EXAMPLES, LENGTH, RANK = 8, 128, 8


def measure(settings: Settings, advance: Advance) -> Json:
    """Percent of the matrix product rate that `melpa doctor` measures, for the base and for the larger llama.

    8 sequences of 128 tokens, the last 13 of each supervised, LoRA of rank 8 at all linear layers of all blocks.
    """
    from ...backends.mlx.doctor import gflops
    from ...backends.mlx.model import load

    bases: dict[str, Callable[[], Any]] = {"base": lambda: load(settings.model)}
    if not settings.short:
        bases["llama_60m"] = lambda: random_llama(LARGE)
    results: Json = {"matrix_product": number(gflops(), "GFLOP/s")}
    for name, made in bases.items():
        base = made()
        if base.config.get("model_type") == "llama":
            results[name] = _base(base, 2 if settings.short else EXAMPLES, 3 if settings.short else 7, gflops)
        advance(1, name)
    best = max((results[name]["share"]["value"] for name in bases if name in results), default=0.0)
    return {"share": number(best, "% of the matrix product rate", at_least=GOAL_PERCENT), **results}


def _base(base: Any, examples: int, times: int, gflops: Callable[[], float]) -> Json:
    setup = on_numbers(base, {"adapter.rank": RANK})
    theta, support = random_theta(setup), random_batch(setup, 1, examples, LENGTH)
    parts, model, ops = setup.parts, setup.model, setup.parts.ops
    state = inner_loop.begin(parts, theta, support)
    ops.evaluate(state)
    read = sum(part["index"].shape[0] for part in support["parts"])
    work = Work(examples, LENGTH, read, model.adapter, names(model.sites))
    counted = products(base.config, work)
    rates, seconds = [], []
    for _ in range(times):  # the rate of a machine changes, so it is measured before each step
        rates.append(gflops())
        seconds.append(timed(lambda: inner_loop.step(parts, theta, 0, state, support), 1))
    step, rate = median(seconds), median(rates)
    reached = flops(counted) / step / 1e9
    model.detach()
    in_one_lane = {
        "products": sum(_product(p) * n for p, n in Counter(counted).items()),
        **_other_costs(base.config, work, ops),
    }
    spent = {name: value / ops.LANES for name, value in in_one_lane.items()}
    spent["step of the rule"] = timed(lambda: state["rows"] - 0.1 * state["rows"], 5)
    return {
        "share": number(100 * reached / rate, "% of the matrix product rate"),
        "flops": number(flops(counted) / 1e9, "GFLOP"),
        "rate": number(reached, "GFLOP/s", product_rate=rate),
        "step": number(1e3 * step, "ms"),
        "tokens": number(examples * LENGTH / step, "tokens/s"),
        "spent": {name: number(1e3 * value, "ms", share=value / step) for name, value in spent.items()},
        "rest": number(1e3 * (step - sum(spent.values())), "ms"),
    }


def timed(work: Callable[[], Any], times: int) -> float:
    """Seconds of the fastest of `times` calls."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        mx.eval(work())
        best = min(best, time.perf_counter() - began)
    return best


def _product(product: Product) -> float:
    """Seconds of one product at its own shape, in one lane."""
    a = mx.ones((product.batch, product.m, product.k))
    b = mx.ones((product.batch, product.k, product.n))
    mx.eval(a, b)
    return timed(lambda: a @ b, 3)


def _other_costs(config: Json, work: Work, ops: Engine) -> dict[str, float]:
    """Seconds in one lane, backward pass included, of operations that are no products, at their shapes and counts."""
    n, d, layers = work.tokens, int(config["hidden_size"]), int(config["num_hidden_layers"])
    ff, heads = int(config["intermediate_size"]), int(config["num_attention_heads"])
    wide = int(config.get("head_dim") or d // heads)
    turned = work.sequences, heads, work.length, wide
    turn = nn.RoPE(wide)
    each: dict[str, tuple[int, Callable[[Any], Any], tuple[int, ...]]] = {
        "activations": (layers, lambda x: nn.silu(x) * x, (n, ff)),
        "softmax of attention": (layers, ops.softmax, (*turned[:3], work.length)),
        "norms": (2 * layers + 1, lambda x: mx.fast.rms_norm(x, mx.ones(d), 1e-5), (n, d)),
        "rotary positions": (2 * layers, turn, turned),
        "sums over the vocabulary": (1, ops.log_sum_exp, (work.read, int(config["vocab_size"]))),
    }
    return {name: often * _with_backward(fn, shape) for name, (often, fn, shape) in each.items()}


def _with_backward(fn: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
    x = mx.random.normal(shape, key=mx.random.key(0))
    back = mx.ones_like(fn(x))
    mx.eval(x, back)
    return timed(lambda: mx.vjp(fn, [x], [back]), 3)

"""The inner step beside the machine's limit: counted operations, their rate, and where the rest of the time goes"""

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

from ...backends.mlx import mx, nn
from ...core import inner_loop as adapt
from ...evaluation.flops import Product, Work, flops, names, products
from ...pocket import fit
from .fixtures import batch, parts, random_llama, theta
from .settings import Advance, Settings, number

WANTED = 50.0
LARGE = fit.Size(vocabulary=32000, width=640, layers=8, heads=10, kv_heads=10, feed_forward=1792, context=256)
"""A llama of 61 million weights."""
EXAMPLES, LENGTH, RANK = 8, 128, 8


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Percent of the matrix product rate that `melpa doctor` measures, for the base and for the larger llama.

    8 sequences of 128 tokens, the last 13 of each supervised, LoRA of rank 8 at all linear layers of all blocks.
    """
    from ...backends.mlx.doctor import gflops
    from ...backends.mlx.model import load

    bases: dict[str, Callable[[], Any]] = {"base": lambda: load(settings.model)}
    if not settings.short:
        bases["llama_60m"] = lambda: random_llama(LARGE)
    found: dict[str, Any] = {"matrix_product": number(gflops(), "GFLOP/s")}
    for name, made in bases.items():
        base = made()
        if base.config.get("model_type") == "llama":
            found[name] = _one(base, 2 if settings.short else EXAMPLES, 3 if settings.short else 7, gflops)
        advance(1, name)
    best = max((found[name]["share"]["value"] for name in bases if name in found), default=0.0)
    return {"share": number(best, "% of the matrix product rate", at_least=WANTED), **found}


def _one(base: Any, examples: int, times: int, gflops: Callable[[], float]) -> dict[str, Any]:
    made = parts(base, rank=RANK)
    begun, support = theta(made), batch(made, 1, examples, LENGTH)
    state = adapt.begin(made, begun, support)
    made.ops.evaluate(state)
    problem: Any = made.problem
    model = problem.model
    read = sum(part["index"].shape[0] for part in support["parts"])
    work = Work(examples, LENGTH, read, model.adapter, names(model.sites))
    counted = products(base.config, work)
    rates, seconds = [], []
    for _ in range(times):  # the rate is measured beside each step: a machine's changes
        rates.append(gflops())
        seconds.append(timed(lambda: adapt.step(made, begun, 0, state, support), 1))
    step, rate = median(seconds), median(rates)
    reached = flops(counted) / step / 1e9
    model.detach()
    alone = {
        "products": sum(_product(p) * n for p, n in Counter(counted).items()),
        **_beside(base.config, work, made.ops),
    }
    spent = {name: value / made.ops.LANES for name, value in alone.items()}
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
    """Seconds of the fastest of some calls, evaluated."""
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


def _beside(config: dict[str, Any], work: Work, ops: Any) -> dict[str, float]:
    """Seconds in one lane, with the way back, of what is no product, at its own shape and as often as it occurs."""
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
    return {name: often * _both_ways(fn, shape) for name, (often, fn, shape) in each.items()}


def _both_ways(fn: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
    x = mx.random.normal(shape, key=mx.random.key(0))
    back = mx.ones_like(fn(x))
    mx.eval(x, back)
    return timed(lambda: mx.vjp(fn, [x], [back]), 3)

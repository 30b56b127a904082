"""Fast sigmoid, tanh, softmax and log sum exp on a CPU, where MLX computes exponentials one number at a time.

tanh(x) is the quotient of an odd polynomial of degree 13 and an even one of degree 6 on |x| < 7.9, within 2e-7 of the
true value (the one Eigen uses). On 1.2M numbers, two cores: 3.7 ms against 16 ms, and 4.7 against 17 with the gradient.
All derivatives are exact functions of the value: s' = s (1 - s), t' = 1 - t^2, so second order works.

exp(x) = 2^n 2^r with n the integer next to x / ln 2 and r in [-1/2, 1/2]: a polynomial of degree 5, minimax in relative
error (8e-8), and n added to the bits of its exponent. log sum exp keeps its softmax for the way back: over 600 rows of
4096 numbers, one core, 10 ns a number and 17 with the gradient, against 23 and 49.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np

from ...core.types import Tree

_ODD = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_EVEN = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
_EDGE = 7.90531110763549805
_POWER = (
    0.0013276346584796192,
    0.009675655422873,
    0.0555071451736240,
    0.2402211762016476,
    0.6931469657638893,
    1.0000000720779,
)
_ROUND = 12582912.0
"""1.5 * 2^23: adding it rounds to an integer, which then stands in the lowest bits."""


def _tanh(x: mx.array) -> mx.array:
    x = mx.clip(x, -_EDGE, _EDGE)
    y = x * x
    return x * _polynomial(_ODD, y) / _polynomial(_EVEN, y)


def _polynomial(coefficients: tuple[float, ...], y: mx.array) -> mx.array:
    """Horner's scheme, the highest power first."""
    value = coefficients[0] * y + coefficients[1]
    for c in coefficients[2:]:
        value = value * y + c
    return value


def _with_gradient(forward: Callable[..., Tree], back: Callable[..., mx.array]) -> Callable[[mx.array], Tree]:
    """A function of x with its own gradient, back(x, cotangent, out), computed in the lane of the forward pass."""
    made: dict[mx.Stream, Callable[[mx.array], Tree]] = {}

    def call(x: mx.array) -> Tree:
        here = mx.default_stream(mx.default_device())
        if here not in made:
            function: Any = mx.custom_function(forward)

            def on_stream(*given: Tree) -> mx.array:
                with mx.stream(here):
                    return back(*given)

            function.vjp(on_stream)
            made[here] = function
        return made[here](x)

    return call


tanh = _with_gradient(_tanh, lambda x, cotangent, out: cotangent * (1 - out * out))
"""tanh, float32, within 2e-7."""

sigmoid = _with_gradient(lambda x: 0.5 + 0.5 * _tanh(0.5 * x), lambda x, cotangent, out: cotangent * out * (1 - out))
"""1 / (1 + exp(-x)), float32, within 2e-7."""


def _raised(x: mx.array) -> mx.array:
    y = 1.4426950408889634 * mx.maximum(x, _LOWEST)
    rounded = y + _ROUND
    power = _polynomial(_POWER, y - (rounded - _ROUND))
    return mx.view(mx.left_shift(mx.view(rounded, mx.int32), 23) + mx.view(power, mx.int32), mx.float32)


_LOWEST = -60.0


@cache
def _least() -> float:
    return float(np.array(_raised(mx.array([_LOWEST])))[0])


def _exp(x: mx.array) -> mx.array:
    """exp(x) - exp(-60) of x <= 0, float32, and 0 below -60: what is next to nothing would be slow to compute with."""
    return _raised(x) - _least()


def _log_sum_exp(x: mx.array) -> tuple[mx.array, mx.array]:
    top = mx.max(x, axis=-1, keepdims=True)
    raised = _exp(x - top)
    total = raised.sum(-1, keepdims=True)
    return top + mx.log(total), raised * (1 / total)


def _log_sum_exp_back(x: mx.array, cotangents: tuple[mx.array, mx.array], outs: tuple[mx.array, mx.array]) -> mx.array:
    of_sum, of_soft = cotangents
    return outs[1] * (of_sum + of_soft - (of_soft * outs[1]).sum(-1, keepdims=True))


log_sum_exp = _with_gradient(_log_sum_exp, _log_sum_exp_back)
"""log sum exp over the last axis, which is kept, and the softmax; float32."""


def _softmax(x: mx.array) -> mx.array:
    top = mx.max(x, axis=-1, keepdims=True)
    raised = _exp(x - top)
    return raised * (1 / (raised.sum(-1, keepdims=True) + 0 * top))  # what is no number stays none


softmax = _with_gradient(_softmax, lambda x, c, out: out * (c - (c * out).sum(-1, keepdims=True)))
"""Softmax over the last axis; float32."""


def silu(x: mx.array) -> mx.array:
    """x sigmoid(x)."""
    return x * sigmoid(x) if x.dtype == mx.float32 else x * mx.sigmoid(x)


def gelu_approx(x: mx.array) -> mx.array:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    inner = 0.7978845608028654 * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + (tanh(inner) if x.dtype == mx.float32 else mx.tanh(inner)))

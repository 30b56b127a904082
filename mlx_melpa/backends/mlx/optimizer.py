"""The outer optimizers of MLX and their schedules."""

from typing import Any

import mlx.core as mx
import mlx.optimizers as optim

from .trees import Tree


class OuterOptimizer:
    """An outer optimizer of the engine over a tree; Adam corrects its bias, as torch's does.

    Kinds adam, adamw, sgd. The rate rises linearly over `warmup` steps, then stays, or falls by a half cosine to 0 at
    `steps`.
    """

    def __init__(self, kind: str, *, lr: float, schedule: str, warmup: int, steps: int, **settings: Any):
        after = optim.cosine_decay(lr, max(1, steps - warmup)) if schedule == "cosine" else lambda _: mx.array(lr)
        rise = optim.linear_schedule(lr / (warmup + 1), lr, max(1, warmup))
        self.rate = optim.join_schedules([rise, after], [warmup]) if warmup else after
        if kind != "sgd":
            settings["bias_correction"] = True
        self.inner = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}[kind](self.rate, **settings)

    def begin(self, theta: Tree) -> None:
        """Makes the state for a tree of parameters."""
        self.inner.init(theta)

    def apply(self, gradient: Tree, theta: Tree) -> Tree:
        """The tree after one step."""
        return self.inner.apply_gradients(gradient, theta)

    @property
    def state(self) -> Tree:
        """All that a resumed run needs."""
        return self.inner.state

    @state.setter
    def state(self, state: Tree) -> None:
        self.inner.state = state


def clip(gradient: Tree, most: float) -> tuple[Tree, mx.array]:
    """Scales a tree down to a norm of `most`; also the norm before."""
    return optim.clip_grad_norm(gradient, most)

"""The outer optimizers and their schedules: torch's own, as functions of trees, with MLX's rates step for step."""

from collections.abc import Callable
from math import cos, pi
from typing import Any

import torch

from .trees import Tree, flatten, map_tree, rebuild

KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}


class OuterOptimizer:
    """An outer optimizer of the engine over a tree.

    Kinds adam, adamw, sgd. The rate rises linearly over `warmup` steps, then stays, or falls by a half cosine to 0 at
    `steps`. `state` is all that a resumed run needs: {"step": (), moment: a tree like the parameters}.
    """

    def __init__(self, kind: str, *, lr: float, schedule: str, warmup: int, steps: int, **settings: Any):
        self.kind, self.lr, self.schedule, self.warmup, self.steps = kind, lr, schedule, warmup, steps
        self.settings = settings
        self.state: Tree = {}

    def rate(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        if step < self.warmup:
            low = self.lr / (self.warmup + 1)
            return low + step * (self.lr - low) / self.warmup
        if self.schedule == "constant":
            return self.lr
        length = max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + cos(pi * min(step - self.warmup, length) / length))

    def begin(self, theta: Tree) -> None:
        """Makes the state for a tree of parameters."""
        names = MOMENTS[self.kind] if self.kind != "sgd" or self.settings.get("momentum") else ()
        moments = {name: map_tree(torch.zeros_like, theta) for name in names}
        self.state = {"step": torch.zeros((), dtype=torch.float32), **moments}

    def apply(self, gradient: Tree, theta: Tree) -> Tree:
        """The tree after one step."""
        weights = [leaf.detach().clone().requires_grad_() for _, leaf in flatten(theta)]
        for weight, (_, slope) in zip(weights, flatten(gradient), strict=True):
            weight.grad = slope.detach()
        step = self.state["step"]
        inner = KINDS[self.kind](weights, lr=self.rate(int(step)), **self.settings)
        kept = {name: [leaf for _, leaf in flatten(tree)] for name, tree in self.state.items() if name != "step"}
        for i, weight in enumerate(weights):
            moments = {name: leaves[i].clone() for name, leaves in kept.items()}
            # torch keeps a count per weight where it has moments; sgd needs none
            inner.state[weight] = moments | ({} if self.kind == "sgd" else {"step": step.clone()})
        inner.step()
        for name in kept:
            self.state[name] = rebuild(theta, [inner.state[weight][name] for weight in weights])
        self.state["step"] = step + 1
        return rebuild(theta, [weight.detach() for weight in weights])


def clip(gradient: Tree, most: float) -> tuple[Tree, torch.Tensor]:
    """Scales a tree down to a norm of `most`; also the norm before."""
    squares = [(leaf.float() ** 2).sum() for _, leaf in flatten(gradient)]
    norm = torch.stack(squares).sum().sqrt()
    scale = torch.clamp(most / (norm + 1e-6), max=1.0)
    return map_tree(lambda g: g * scale, gradient), norm

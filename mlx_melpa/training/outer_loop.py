"""The outer loop: draws episodes, sums meta-gradients, moves theta, validates. It touches no files."""

from collections.abc import Sequence
from math import isfinite, prod

import numpy as np

from ..config.build import Setup
from ..config.recipe import Recipe
from ..core.microbatches import Passes
from ..core.protocols import Learner
from ..core.types import AnyEpisode, Splits, Tree
from ..errors import MelpaError, RecipeError
from ..evaluation.curves import curves, episodes
from ..evaluation.streams import measure_streams, prepare
from ..tasks.streams import streams
from .difficulty import difficulty

METRIC_DRAW, MEMORY_DRAW = 2**31, 2**31 + 1
"""Iterations whose draws initialize the readout's metric and measure memory; no step has these numbers."""
CACHE_BYTES = 2 << 30
"""Limit of the allocator's cache, which does not show in peak memory."""


class Diverged(MelpaError):
    """The query loss or its gradient is no longer a finite number; theta is as it was before the step."""


class OuterLoop:
    """Meta-training of one theta. The caller counts iterations, from 0 to `settings.iterations` - 1.

    With several ranks each takes a share of the episodes, and all compute the same theta.
    """

    def __init__(self, recipe: Recipe, setup: Setup, splits: Splits):
        self.setup = setup
        self.settings = s = recipe.train
        self.sampler = recipe.make("sampler")
        self.ops = setup.parts.ops
        self.rank, self.ranks = self.ops.ranks()
        self.ops.limit_cache(CACHE_BYTES)
        self.passes = Passes(self.ops, s.tasks_per_pass or s.tasks_per_step)
        self.optimizer = self.ops.OuterOptimizer(
            **s.optimizer, schedule=s.schedule, warmup=s.warmup, steps=s.iterations
        )
        self.theta = setup.begin(s.seed)
        self.optimizer.begin(self.theta)
        self.single, self.tasks = splits, streams(splits, s.stream)
        self.validation = episodes(self.tasks.validation, s.validation_episodes, s.seed)
        if min(s.tasks_per_step, s.validation_episodes) < self.ranks:
            raise RecipeError(
                f"{self.ranks} ranks share {s.tasks_per_step} tasks per step and {s.validation_episodes} validation "
                "episodes: set train.tasks_per_step and train.validation_episodes to that many at least"
            )

    @property
    def state(self) -> Tree:
        """Theta and the outer optimizer's state: what a later process needs to go on."""
        return {"theta": self.theta, "optimizer": self.optimizer.state}

    @state.setter
    def state(self, state: Tree) -> None:
        self.theta, self.optimizer.state = state["theta"], state["optimizer"]

    @property
    def metric_episodes(self) -> int:
        """The number of training episodes from which the readout's metric is initialized; 0 where it has none."""
        return 0 if self.setup.model is None else int(self.setup.readout.metric_episodes)

    def choose_tasks_per_pass(self) -> None:
        """Sets the number of tasks in one pass by free memory, unless the recipe sets it."""
        if self.settings.tasks_per_pass is None and self.setup.model is not None:
            drawn = self.sampler.next(self.tasks.train, self.settings.seed, MEMORY_DRAW, 1)
            learner = self.setup.learner  # as it is at the end of meta-training, which memory has to hold
            self.passes.fit(lambda: self.meta_gradient(learner, drawn))
            learner.numbers()  # of a trial, not of a step

    def init_metric(self, count: int | None = None) -> None:
        """Initializes the readout's metric in closed form from `count` training episodes (default: the recipe's)."""
        count = self.metric_episodes if count is None else count
        if not count:
            return
        drawn = self.sampler.next(self.single.train, self.settings.seed, METRIC_DRAW, count)
        self.theta = self.setup.init_metric(self.theta, self.settings.seed, drawn, self.passes.size)

    def progress(self, iteration: int) -> float:
        """The share of meta-training that lies behind an iteration: 0 at the first, 1 at the last."""
        return iteration / max(1, self.settings.iterations - 1)

    def draw(self, iteration: int) -> list[AnyEpisode]:
        """Draws the episodes of one iteration; a curriculum scores candidates at the current theta."""
        s = self.settings
        return self.sampler.next(
            self.tasks.train, s.seed, iteration, s.tasks_per_step, self.score, self.progress(iteration)
        )

    def score(self, drawn: Sequence[AnyEpisode], by: str) -> np.ndarray:
        """Difficulty (n,) of episodes before adaptation; each rank scores its share, and all get the same numbers."""
        parts, scores = self.setup.parts, np.zeros(len(drawn))
        own = self.passes.each(drawn[self.rank :: self.ranks], lambda part: difficulty(parts, self.theta, part, by))
        scores[self.rank :: self.ranks] = np.concatenate(list(own))
        return self.ops.numpy(self.ops.total({"scores": self.ops.array(scores)})["scores"])

    def meta_gradient(self, learner: Learner, drawn: Sequence[AnyEpisode]) -> tuple[np.ndarray, Tree, int]:
        """Query losses (T,) of T episodes, the gradient of their sum, and the number of tokens."""
        support, query = prepare(self.setup.parts.problem, drawn)
        losses, gradient = learner.meta_grad(self.theta, support, query)
        leaves = self.ops.flatten((support, query))
        tokens = sum(prod(leaf.shape) for name, leaf in leaves if name.endswith("tokens"))
        return self.ops.numpy(losses), gradient, tokens

    def step(self, iteration: int) -> dict[str, float]:
        """Moves theta by the mean gradient of an iteration's episodes; raises Diverged.

        Returns loss (mean query loss), norm (of the gradient before clipping), tokens and the learner's own metrics.
        """
        ops, learner = self.ops, self.setup.learner.at(self.progress(iteration))
        drawn = self.draw(iteration)
        gradient, losses, tokens = ops.zeros_like(self.theta), [], 0
        for own, part, count in self.passes.each(
            drawn[self.rank :: self.ranks], lambda part: self.meta_gradient(learner, part)
        ):
            gradient = ops.add(gradient, part)
            losses.append(own)
            tokens += count
        counts = ops.array([float(np.concatenate(losses).sum()), float(tokens)])
        summed = ops.total({"gradient": gradient, "counts": counts})
        mean = ops.map_tree(lambda g: g / len(drawn), summed["gradient"])
        gradient, norm = ops.clip(mean, self.settings.clip or float("inf"))
        loss, tokens = ops.numpy(summed["counts"]).tolist()
        found = {"loss": loss / len(drawn), "norm": float(ops.numpy(norm)), "tokens": int(tokens)}
        if not (isfinite(found["loss"]) and isfinite(found["norm"])):
            raise Diverged(
                f"iteration {iteration + 1}: the query loss is {found['loss']}, its gradient's norm {found['norm']}; "
                "lower rule.lr or train.optimizer.lr, or set train.clip"
            )
        self.theta = self.optimizer.apply(gradient, self.theta)
        ops.evaluate(self.theta, self.optimizer.state)
        return {**found, **learner.numbers()}

    def validate(self, count: int | None = None) -> dict[str, float]:
        """Adapts to the first `count` validation episodes (default: all) and returns the means of their measures.

        Of a stream the means over its tasks, measured at its end.
        """
        parts, steps, size = self.setup.parts, self.setup.learner.steps, self.passes.size
        drawn = self.validation[:count]
        own = drawn[self.rank :: self.ranks]
        if self.settings.stream == 1:
            found = curves(parts, self.theta, own, [steps], tasks_per_pass=size).last
        else:
            found = measure_streams(parts, self.theta, own, steps, tasks_per_pass=size)
        sums = self.ops.total({name: self.ops.array([values.sum()]) for name, values in found.items()})
        return {name: float(self.ops.numpy(value)[0]) / len(drawn) for name, value in sums.items()}

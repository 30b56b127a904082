"""The outer loop: episodes, the learner's meta-gradient, the outer optimizer; checkpoints and resume."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from os import devnull
from pathlib import Path
from time import perf_counter, time
from typing import Any

import numpy as np

from .. import __version__
from ..config.build import Composition, check_descriptions, compose, readout_for
from ..config.recipe import Recipe
from ..config.train_settings import TrainSettings
from ..core.microbatches import Passes
from ..core.types import Splits, Tree
from ..errors import MelpaError, RecipeError
from ..evaluation import curves as evaluate
from ..evaluation import streams as retention
from ..store import run
from ..tasks.streams import streams
from .difficulty import difficulty

Event = dict[str, Any]
PRIMING, FITTING = 2**31, 2**31 + 1
"""The iterations whose draws are those of the priming and of the look at memory: no step has them."""
CACHE = 2 << 30
"""Bytes that the allocator may keep: its cache does not show in peak memory."""


@dataclass
class Progress:
    """What a checkpoint holds besides theta and the optimizer's state."""

    iteration: int = 0
    best: float | None = None
    seconds: float = 0.0
    validation: float | None = None
    tasks_per_pass: int | None = None


def meta_train(recipe: Recipe, out: str | Path, *, resume: bool = False, base: Any = None) -> Iterator[Event]:
    """Meta-trains a recipe into the folder `out` and yields events: start, step, validation, end.

    Raises RecipeError where `out` holds a run and `resume` is off, where a resumed recipe differs, and where the loss
    stops being a number (the last good checkpoint stays).
    """
    out = Path(out)
    splits: Splits = recipe.make("tasks")
    readout = None if recipe.resolved["model"] is None else readout_for(splits)
    if readout is not None:
        check_descriptions(recipe, splits)
    composed = compose(recipe, base, readout or "prototypes")
    trainer = Trainer(recipe, composed, splits, out)
    trainer.open(resume, readout)
    return trainer.run()


class Trainer:
    """One run of the outer loop."""

    def __init__(self, recipe: Recipe, composed: Composition, splits: Splits, out: Path):
        self.recipe, self.composed, self.splits, self.out = recipe, composed, splits, out
        self.settings: TrainSettings = recipe.make("train")
        self.sampler = recipe.make("sampler")
        self.ops = composed.parts.ops
        self.rank, self.ranks = self.ops.ranks()
        self.ops.limit_cache(CACHE)
        s = self.settings
        self.passes = Passes(self.ops, s.tasks_per_pass or s.tasks_per_step)
        self.optimizer = self.ops.Outer(**s.optimizer, schedule=s.schedule, warmup=s.warmup, steps=s.iterations)
        self.learner = composed.learner  # as it is at the end of meta-training: what memory has to hold
        self.theta = composed.begin(s.seed)
        self.optimizer.begin(self.theta)
        self.progress = Progress()
        self.drawn_from = streams(splits, s.stream)
        self.checks = evaluate.episodes(self.drawn_from.validation, s.validation_episodes, s.seed)
        if min(s.tasks_per_step, s.validation_episodes) < self.ranks:
            raise RecipeError(
                f"{self.ranks} ranks share {s.tasks_per_step} tasks per step and {s.validation_episodes} validation "
                "episodes: set train.tasks_per_step and train.validation_episodes to that many at least"
            )

    def open(self, resume: bool, readout: str | None) -> None:
        """Begins the folder, or takes up what lies there; rank 0 does, and the others take its state."""
        self.fit()
        if self.rank == 0:
            self._open(resume, readout)
        state = {"like": self._like(), "iteration": self.ops.array([float(self.progress.iteration)])}
        state = self.ops.total(state if self.rank == 0 else self.ops.zeros_like(state))
        self.theta, self.optimizer.state = state["like"]["theta"], state["like"]["optimizer"]
        self.progress.iteration = int(self.ops.numpy(state["iteration"])[0])

    def _open(self, resume: bool, readout: str | None) -> None:
        if (self.out / "run.json").is_file():
            if not resume:
                raise RecipeError(f"{self.out} already holds a run; go on with --resume, or give another --out")
            self._same_recipe()
            self._restore()
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise RecipeError(f"{self.out} is not empty and holds no run; give another --out")
        self.theta = self.primed()
        base = self.composed.base
        run.write(
            self.out,
            self.recipe,
            {
                "name": self.out.name,
                "made": time(),
                "melpa": __version__,
                "engine": self.ops.identity(),
                "base": {"name": base.name, "family": base.family, "weights": base.weights} if base else None,
                "readout": readout,
                "parameters": self.composed.layout.size,
                "layout": self.composed.layout.fingerprint,
                "seen": sorted(self.splits.seen),
                "notes": list(self.splits.notes),
            },
        )

    def primed(self, count: int | None = None) -> Tree:
        """Theta with what the problem can compute of its start in closed form from `count` training episodes."""
        problem: Any = self.composed.parts.problem
        count = getattr(problem, "primed", 0) if count is None else count
        if not count:
            return self.theta
        s, initializer = self.settings, self.composed.parts.initializer
        drawn = self.sampler.next(self.splits.train, s.seed, PRIMING, count)
        row = self.composed.layout.draw(np.random.default_rng([s.seed, 0]))
        row = problem.prime(row, drawn, self.passes.size)
        return {**self.theta, "initializer": {**self.theta["initializer"], **initializer.at(row)}}

    def _same_recipe(self) -> None:
        stored, now = run.load_recipe(self.out / "recipe.yaml").resolved, self.recipe.resolved
        changed = [key for key in now if now[key] != stored.get(key)]
        if changed:
            raise RecipeError(
                f"the run in {self.out} was begun with another {', '.join(changed)}; resume with the recipe in "
                f"{self.out / 'recipe.yaml'}, or give another --out"
            )

    def _like(self) -> Tree:
        return {"theta": self.theta, "optimizer": self.optimizer.state}

    def _restore(self) -> None:
        path = self.out / "checkpoint.safetensors"
        if path.is_file():
            loaded = self.ops.load(path, self._like())
            self.progress = Progress(**json.loads(self.ops.metadata(path)["progress"]))
            self.theta, self.optimizer.state = loaded["theta"], loaded["optimizer"]
            self.passes.size = self.progress.tasks_per_pass or self.passes.size
        else:
            self.theta = self.primed()  # stopped before its first checkpoint
        metrics = self.out / "metrics.jsonl"
        if metrics.is_file():
            lines = [ln for ln in metrics.read_text(encoding="utf-8").splitlines() if ln.endswith("}")]
            kept = [ln for ln in lines if json.loads(ln)["iteration"] <= self.progress.iteration]
            run.replace_text(metrics, "".join(f"{line}\n" for line in kept))

    def checkpoint(self) -> None:
        """Writes all that a resumed run needs as one file, then theta for those who use the run; rank 0 writes."""
        if self.rank:
            return
        self.progress.tasks_per_pass = self.passes.size  # sums in another order would end elsewhere
        progress = json.dumps(vars(self.progress))
        run.save(self.out, "checkpoint", self.ops, self._like(), {"progress": progress})
        run.save(self.out, "theta", self.ops, self.theta)

    def meta_grad(self, episodes: Sequence[Any]) -> tuple[np.ndarray, Tree, int]:
        """Query losses (T,) of T episodes, the gradient of their sum, and the tokens that went in."""
        support, query = retention.prepare(self.composed.parts.problem, episodes)
        losses, gradient = self.learner.meta_grad(self.theta, support, query)
        leaves = self.ops.flatten((support, query))
        tokens = sum(prod(leaf.shape) for name, leaf in leaves if name.endswith("tokens"))
        return self.ops.numpy(losses), gradient, tokens

    def fit(self) -> None:
        """Lets memory decide how many tasks one pass takes, where the recipe leaves it open."""
        if self.settings.tasks_per_pass is None and self.composed.model is not None:
            drawn = self.sampler.next(self.drawn_from.train, self.settings.seed, FITTING, 1)
            self.passes.fit(lambda: self.meta_grad(drawn))
            self.told()  # of a trial, not of a step

    @property
    def passed(self) -> float:
        """How far meta-training is, from 0 at its first iteration to 1 at its last."""
        return self.progress.iteration / max(1, self.settings.iterations - 1)

    def score(self, episodes: Sequence[Any], by: str) -> np.ndarray:
        """How hard episodes are before adaptation (n,): each rank scores its share, and all get the same numbers."""
        parts, found = self.composed.parts, np.zeros(len(episodes))
        mine = self.passes.each(episodes[self.rank :: self.ranks], lambda p: difficulty(parts, self.theta, p, by))
        found[self.rank :: self.ranks] = np.concatenate(list(mine))
        return self.ops.numpy(self.ops.total({"found": self.ops.array(found)})["found"])

    def step(self) -> Event:
        """One outer step over tasks_per_step episodes, each rank's share in passes."""
        s, ops, at = self.settings, self.ops, (self.score, self.passed)
        changes = getattr(self.composed.learner, "at", None)
        self.learner = changes(self.passed) if changes else self.composed.learner
        drawn = self.sampler.next(self.drawn_from.train, s.seed, self.progress.iteration, s.tasks_per_step, *at)
        gradient, losses, tokens = ops.zeros_like(self.theta), [], 0
        for found, summed, count in self.passes.each(drawn[self.rank :: self.ranks], self.meta_grad):
            gradient = ops.add(gradient, summed)
            losses.append(found)
            tokens += count
        counts = ops.array([float(np.concatenate(losses).sum()), float(tokens)])
        whole = ops.total({"gradient": gradient, "counts": counts})
        gradient, norm = ops.clip(ops.map_tree(lambda g: g / len(drawn), whole["gradient"]), s.clip or float("inf"))
        summed_loss, tokens = ops.numpy(whole["counts"]).tolist()
        loss, size = summed_loss / len(drawn), float(ops.numpy(norm))
        if not (isfinite(loss) and isfinite(size)):
            there = (self.out / "checkpoint.safetensors").is_file()
            kept = f"the last checkpoint in {self.out} is kept" if there else "there was no checkpoint yet"
            raise MelpaError(
                f"iteration {self.progress.iteration + 1}: the query loss is {loss}, its gradient's norm {size}; "
                f"{kept}. Lower rule.lr or train.optimizer.lr, or set train.clip, and start again with another --out"
            )
        self.theta = self.optimizer.apply(gradient, self.theta)
        ops.evaluate(self.theta, self.optimizer.state)
        self.progress.iteration += 1
        return {
            "event": "step",
            "iteration": self.progress.iteration,
            "loss": loss,
            "norm": size,
            "tokens": int(tokens),
            **self.told(),
        }

    def told(self) -> Mapping[str, float]:
        """What the learner has to tell since it was last asked."""
        numbers: Mapping[str, float] = getattr(self.learner, "numbers", dict)()
        return numbers

    def check(self) -> dict[str, float]:
        """Adapts to the validation episodes: the means of their measures, over all tasks at a stream's end."""
        parts, steps, size = self.composed.parts, self.composed.learner.steps, self.passes.size
        share = self.checks[self.rank :: self.ranks]
        if self.settings.stream == 1:
            found, _ = evaluate.curves(parts, self.theta, share, steps, at=[steps], tasks_per_pass=size)
        else:
            found = retention.retained(parts, self.theta, share, steps, tasks_per_pass=size)
        sums = self.ops.total({name: self.ops.array([values.sum()]) for name, values in found.items()})
        return {name: float(self.ops.numpy(value)[0]) / len(self.checks) for name, value in sums.items()}

    def validate(self) -> Event:
        """Checks theta on unseen tasks and keeps the best."""
        measures = self.check()
        main = evaluate.main_measure(list(measures))
        self.progress.validation = measures[main]
        if self.progress.best is None or evaluate.better(measures[main], self.progress.best, main):
            self.progress.best = measures[main]
            if self.rank == 0:
                run.save(self.out / "best", "theta", self.ops, self.theta)
        return {"event": "validation", "iteration": self.progress.iteration, "measure": main, **measures}

    def run(self) -> Iterator[Event]:
        """The loop; every event but the first goes to metrics.jsonl too, where rank 0 writes it."""
        s, progress = self.settings, self.progress
        notes = self.splits.notes
        yield {"event": "start", "iteration": progress.iteration, "iterations": s.iterations, "notes": notes}
        before, began, first = progress.seconds, perf_counter(), progress.iteration
        with Path(self.out / "metrics.jsonl" if self.rank == 0 else devnull).open("a", encoding="utf-8") as metrics:

            def keep(event: Event) -> Event:
                metrics.write(json.dumps(event) + "\n")
                metrics.flush()
                return event

            while progress.iteration < s.iterations:
                event = self.step()
                spent = perf_counter() - began
                done, last = progress.iteration - first, progress.iteration == s.iterations
                progress.seconds = before + spent
                event |= {"seconds": progress.seconds, "left": spent / done * (s.iterations - progress.iteration)}
                event |= {"validation": progress.validation, "memory": self.ops.peak_memory()}
                yield keep(event)
                if last or progress.iteration % s.validate_every == 0:
                    yield keep(self.validate())
                if last or progress.iteration % s.checkpoint_every == 0:
                    self.checkpoint()
        if first == s.iterations:
            self.checkpoint()
        yield {"event": "end", "iteration": progress.iteration, "seconds": progress.seconds, "best": progress.best}

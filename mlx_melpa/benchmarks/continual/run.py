"""Continual methods on streams of tasks, side by side: `melpa bench continual`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from ...config.build import Composition, compose
from ...core import atomic as disk
from ...errors import MelpaError
from ...evaluation.timing import timed
from . import report as continual_report
from . import tuning as tuning
from .counted import counted
from .methods import KINDS
from .methods.method import Lesson, Method, Start, lesson
from .settings import Job, Settings, Trial, kind
from .stream import Found, ability, learn

Advance = Callable[..., None]


def continual(settings: Settings, advance: Advance = lambda *_: None) -> dict[str, Any]:
    """Learns every stream that is not done yet and sums up all; results go to `out` as they come, then the pictures."""
    bench = Bench(settings, advance)
    if settings.out is not None:
        disk.replace_text(settings.out / "settings.json", json.dumps(settings.identity(), indent=1) + "\n")
    for part in bench.parts():
        for job in part:
            bench.run(job)
    found = continual_report.summed({**settings.identity(), "chance": settings.chance}, bench.done, settings.sign)
    if settings.out is not None:
        disk.replace_text(settings.out / "continual.json", json.dumps(found, indent=1) + "\n")
        if find_spec("matplotlib"):
            continual_report.draw(settings.out, bench.done, settings.measure)
    return found


def estimate(settings: Settings) -> dict[str, float]:
    """Seconds of what is not done yet, from a few steps of each method on two tasks. Writes nothing."""
    bench = Bench(settings, lambda *_: None)
    tasks, found = len(settings.stream.groups), {"seconds": 0.0, "streams": 0.0}
    for part in bench.parts():
        for name, start in dict.fromkeys((job.method, job.start) for job in part):
            left = sum((job.method, job.start) == (name, start) for job in part)
            streams = left + (max(0, tuning.count(settings, name) - bench.tuned(name)) if start == "random" else 0)
            found["seconds"] += streams * bench.stream_seconds(name, start, tasks)
            found["streams"] += streams
    return found


@dataclass
class Bench:
    """A benchmark under way: what is composed, tasks made ready, and what is done."""

    settings: Settings
    advance: Advance
    done: dict[Job, Found] = field(default_factory=dict)
    composed: Composition | None = None
    lessons: dict[tuple[str, int, bool], Lesson] = field(default_factory=dict)
    trials: dict[tuple[str, Trial], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings.jobs(), self.settings.texts  # what can't be measured or read is told before anything is learned
        out = self.settings.out
        if out is None:
            return
        known, here = out / "settings.json", self.settings.identity()
        if known.is_file() and (there := json.loads(known.read_text(encoding="utf-8"))) != here:
            other = next(key for key in here if there.get(key) != here[key])
            raise MelpaError(
                f"{out} holds results with {other} {there.get(other)}, not {here[other]}; give another --out"
            )
        for job in self.settings.jobs():
            path = out / "streams" / job.file
            if path.is_file():
                self.done[job] = Found(**json.loads(path.read_text(encoding="utf-8")))
                self.advance(1 if kind(job.method).at_once else len(self.done[job].tasks), "done before")

    def parts(self) -> Iterator[list[Job]]:
        """What is left to do, first with the adapter as it is, then with one block of it a task; each is composed."""
        left = [job for job in self.settings.jobs() if job not in self.done]
        for blocks in (False, True):
            part = [job for job in left if kind(job.method).blocks == blocks]
            if part:
                with self.composing(blocks):
                    yield part

    @contextmanager
    def composing(self, blocks: bool) -> Iterator[None]:
        """Holds the base with its adapter; one for each task side by side where `blocks` says so."""
        s, run, recipe = self.settings, self.settings.run, self.settings.recipe
        if run:
            run.composed.model.detach()
        if blocks:
            adapter = dict(recipe.resolved["adapter"])
            adapter["rank"] = adapter.get("rank", 1) * len(s.stream.groups)
            recipe = replace(recipe, resolved={**recipe.resolved, "adapter": adapter})
        base = run.composed.base if run else None
        recipe = recipe.with_readout("prototypes" if s.stream.labelled else "completion")
        self.composed = compose(recipe, base)
        self.lessons = {}
        try:
            self.check()
            yield
        finally:
            self.composed.model.detach()

    def check(self) -> None:
        """Refuses a readout that the stream's tasks, or the protocol, are nothing for."""
        assert self.composed is not None
        s, readout = self.settings, self.composed.readout
        kind = self.composed.recipe.kind("readout")
        if readout.classifies != s.stream.labelled:
            tasks, other = ("labels", "prototypes") if s.stream.labelled else ("texts", "completion")
            raise MelpaError(f"the tasks are {tasks}, and readout '{kind}' is not for them; add --set readout={other}")
        if s.protocol == "all" and kind in ("linear", "ridge"):
            raise MelpaError(f"--protocol all: a head of '{kind}' is of one task's labels alone; take prototypes")
        if s.protocol == "all" and getattr(readout, "words", "own") != "own":
            raise MelpaError("--protocol all: letters stand for other labels in each task; add --set readout.words=own")

    def method(self, name: str, start: str, trial: Trial, seed: int, steps: int | None = None) -> Method:
        """Builds a method; a random start is drawn with the seed."""
        assert self.composed is not None
        s, run = self.settings, self.settings.run
        baseline = self.composed.baseline(trial.lr)
        begun = Start(counted(baseline), baseline.begin(seed))
        if run and start != "random":
            begun = Start(counted(self.composed), run.theta)
        own: dict[str, Any] = {} if trial.strength is None else {"strength": trial.strength}
        own |= {"buffer": s.buffer} if kind(name).rehearses else {}
        tasks = len(s.stream.groups)
        return KINDS[name](begun, steps=steps or s.steps, seed=seed, tasks=tasks, **own)

    def ready(self, name: str, seed: int, tuning: bool = False) -> Lesson:
        """A task of the stream, made ready once."""
        assert self.composed is not None
        key = (name, seed, tuning)
        if key not in self.lessons:
            # The tasks of one seed at a time are held.
            self.lessons = {k: v for k, v in self.lessons.items() if k[1:] == key[1:]}
            self.lessons[key] = lesson(self.composed.parts, self.settings.stream.task(name, seed, tuning))
        return self.lessons[key]

    def run(self, job: Job) -> None:
        """Learns one stream and writes what it came to."""
        random = job.start == "random"
        trial = (
            tuning.best(self.settings, job.method, self.tried) if random else tuning.first(self.settings, job.method)
        )
        lessons = [self.ready(name, job.seed) for name in self.settings.stream.order(job.order)]
        method = self.method(job.method, job.start, trial, job.seed)
        self.done[job] = found = learn(
            method, lessons, trial.lr if random else None, self.advance, self.settings.ask, self.settings.texts
        )
        self.write("streams", job.file, found)

    def tried(self, name: str, trial: Trial) -> float:
        """How good it is at the end of the tuning stream, kept in the folder."""
        if (name, trial) not in self.trials:
            out, file = self.settings.out, f"{name}.{trial.lr:g}.{trial.strength}.json"
            path = out / "tuning" / file if out else None
            if path and path.is_file():
                found = Found(**json.loads(path.read_text(encoding="utf-8")))
            else:
                lessons = [self.ready(one, 0, tuning=True) for one in self.settings.stream.order(0)]
                found = learn(
                    self.method(name, "random", trial, 0), lessons, trial.lr, ask=self.settings.ask, texts=None
                )
                self.write("tuning", file, found)
            self.trials[name, trial] = self.settings.sign * float(found.matrix[-1].mean())
        return self.trials[name, trial]

    def tuned(self, name: str) -> int:
        """How many of a method's trials lie in the folder."""
        out = self.settings.out
        return len(list((out / "tuning").glob(f"{name}.*.json"))) if out else 0

    def write(self, folder: str, file: str, found: Found) -> None:
        """Writes a result, where there is a folder for it."""
        if self.settings.out is not None:
            disk.replace_text(self.settings.out / folder / file, json.dumps(found.to_json()) + "\n")

    def stream_seconds(self, name: str, start: str, tasks: int) -> float:
        """What a stream takes: its steps, closing each task, and asking about every task after each."""
        few, made = timed(lambda: [self.ready(one, 0) for one in list(self.settings.stream.groups)[:2]])
        first = self.method(name, start, tuning.first(self.settings, name), 0, steps=1)
        state = first.learn(first.begin(), few[:1])
        times = []
        for steps in (1, 3):
            quick = self.method(name, start, tuning.first(self.settings, name), 0, steps=steps)
            after, seconds = timed(partial(quick.learn, state, few[1:]))
            times.append(seconds)
        step = max(0.0, times[1] - times[0]) / 2
        _, asked = timed(lambda: [self.settings.ask(quick, after, one, few) for one in few])
        _, told = timed(lambda: ability(quick, after, self.settings.texts))
        of_task = self.settings.steps * step + max(0.0, times[0] - step)
        asks = 2 if quick.at_once else tasks + 1
        return 2 * told + tasks * (made / 2 / self.settings.orders + of_task + asks * asked / 2)

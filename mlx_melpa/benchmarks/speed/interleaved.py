"""Interleaved timing of two processes, A B A B, that exchange lines of JSON."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any, NoReturn, Self

from ...core.progress import Advance, silent
from ...core.types import Json
from ...errors import MelpaError
from .settings import goal

Answer = Json
"""A worker's answer to one order: {"seconds": ..., "cpu": ..., "tokens": ..., "loss": ..., ...}."""
Reply = Callable[[Answer], Json]
STDERR_LINES = 12
"""The last lines of a failed worker's stderr, which its error shows."""


class Worker:
    """A process `python -m ...speed.workers.MODULE SETTINGS` that waits for orders, without spinning.

    `ready` is its answer when all is loaded and warm. Raises MelpaError where it fails. Use it in a `with` statement.
    """

    def __init__(self, module: str, settings: Json):
        self.module = module
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", f"{__package__}.workers.{module}", json.dumps(dict(settings))]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True)
        self.ready: Answer = self._read()

    def ask(self, **order: Any) -> Answer:
        """The answer to one order."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        return self._read()

    def close(self) -> None:
        """Ends the process by closing its input; kills it after ten seconds."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        return dict(json.loads(line))

    def _fail(self) -> NoReturn:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()[-STDERR_LINES:]
        self.close()
        shown = "".join(f"\n  {line}" for line in lines) or " nothing"
        raise MelpaError(f"bench: the process of {self.module} ended with code {code}; its last output:{shown}")


class Clock:
    """Begins when it is made; `answer` has the seconds since then, and the processor seconds of all threads."""

    def __init__(self) -> None:
        self._seconds, self._cpu = perf_counter(), process_time()

    def answer(self, **more: Any) -> Answer:
        """The answer with the time since the beginning."""
        return {"seconds": perf_counter() - self._seconds, "cpu": process_time() - self._cpu, **more}


def serve(work: Callable[[Json, Reply], None]) -> None:
    """Runs a worker's side: `work(settings, reply)`, where reply(answer) returns the next order, or ends the process.

    The first reply comes when all is loaded and warm. Other output to stdout goes to stderr.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(answer: Answer) -> Json:
        try:
            out.write(json.dumps(answer) + "\n")
            out.flush()
        except BrokenPipeError:
            raise SystemExit(0) from None
        line = sys.stdin.readline()
        if not line:
            raise SystemExit(0)
        return dict(json.loads(line))

    work(json.loads(sys.argv[1]), reply)


@dataclass(frozen=True)
class Ratio:
    """Pairs of answers (ours, peer's) as rates, of which more is better; the ratio is ours over the peer's."""

    answers: tuple[tuple[Answer, Answer], ...]
    rate: Callable[[Answer], float]

    @property
    def ours(self) -> float:
        """The median of our rates."""
        return median(self.rate(ours) for ours, _ in self.answers)

    @property
    def peer(self) -> float:
        """The median of the peer's rates."""
        return median(self.rate(peer) for _, peer in self.answers)

    @property
    def pairs(self) -> list[float]:
        """The ratio of each pair."""
        return [self.rate(ours) / self.rate(peer) for ours, peer in self.answers]

    @property
    def cpu_ratio(self) -> float:
        """The ratio in processor time, which other load on the machine changes less."""
        timed = [tuple({**answer, "seconds": answer["cpu"]} for answer in pair) for pair in self.answers]
        return median(self.rate(ours) for ours, _ in timed) / median(self.rate(peer) for _, peer in timed)

    def record(self, unit: str, at_least: float | None = None, **more: object) -> Json:
        """The comparison in the JSON: ours, peer, ratio (of medians), pairs, unit, and the goal."""
        ratio = self.ours / self.peer
        record: Json = {
            "ours": self.ours,
            "peer": self.peer,
            "ratio": ratio,
            "pairs": self.pairs,
            "unit": unit,
        }
        if all("cpu" in answer for pair in self.answers for answer in pair):
            record["cpu_ratio"] = self.cpu_ratio
        return {**record, **goal(ratio, at_least, None), **more}


def per_second(answer: Answer) -> float:
    """Tokens per second of an answer, or its `count` per second without tokens."""
    done = answer["tokens"] if "tokens" in answer else answer.get("count", 1)
    return float(done) / float(answer["seconds"])


def interleave(
    ours: Worker,
    peer: Worker,
    repeats: int,
    *,
    order: Json | None = None,
    rate: Callable[[Answer], float] = per_second,
    advance: Advance = silent,
) -> Ratio:
    """Gives both the same order in turn, `repeats` times each; the idle one waits for input."""
    answers = []
    for i in range(repeats):
        answers.append((ours.ask(**(order or {})), peer.ask(**(order or {}))))
        advance(1, f"{i + 1} of {repeats}")
    return Ratio(tuple(answers), rate)

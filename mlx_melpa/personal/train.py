"""Inner steps of one user, many users or one user's folds as the rows of one pass, and the states they leave."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core import inner_loop
from ..core.class_means import average, load_class_means, single_examples
from ..core.microbatches import chunks
from ..core.types import Array, Batch, Example, State
from ..store import UserState
from ..store.run import Run
from ..store.version import rounded
from .examples import MAX_TOGETHER, UserExamples
from .predict import Fit, engine_rows, fits

Watch = Callable[[int, State], bool | None]


@dataclass(frozen=True)
class Trained:
    """The states of T users after some numbers of steps, and the support batch they come from."""

    run: Run
    users: Sequence[UserExamples]
    support: Batch
    at: Mapping[int, State] = field(repr=False)

    def fits(self, rows: Array) -> list[Fit]:
        """Loss and accuracy of rows (T, P) on the support sets themselves."""
        return fits(self.run.problem.measure(rows, self.support, self.run.shared))

    def states(self, steps: int) -> list[UserState]:
        """Each user's state after a number of steps, with everything computed from the row as it will be stored."""
        run, end = self.run, self.at[steps]
        stored = [UserState(rounded(row)[None]) for row in run.ops.numpy(end["rows"])]
        end = {**end, "rows": engine_rows(run, stored)}
        memory = self._class_memory(end["rows"])
        found = []
        for i, (user, state) in enumerate(zip(self.users, stored, strict=True)):
            count = len(user.labels)
            classes = average(memory["class_sums"][i][:count], memory["class_counts"][i][:count]) if memory else {}
            one = run.ops.map_tree(lambda array, i=i: array[i : i + 1], {"rows": end["rows"], "carry": end["carry"]})
            regularizer = _finish_task(run, one, user, load_class_means(classes, user.labels))
            learned = user.learned.hashes
            shared = None if user.previous is None else user.previous.state.shared
            found.append(UserState(state.rows, **classes, learned=learned, regularizer=regularizer, shared=shared))
        return found

    def _class_memory(self, rows: Array) -> dict[str, np.ndarray]:
        """Class sums (T, N, d) and counts (T, N) of all examples so far; {} for a readout that needs none."""
        run, problem = self.run, self.run.problem
        if not self.users[0].labels:
            return {}
        if all(set(user.support) == {*user.new, *user.replayed} for user in self.users):
            found = problem.memory(rows, self.support, run.shared)
            return {name: run.ops.numpy(value) for name, value in found.items()}
        (user,) = self.users
        memory = user.memory
        examples = [*user.new, *user.replayed]
        order = np.random.default_rng(0).permutation(len(examples))
        for part in chunks([examples[i] for i in order], MAX_TOGETHER):
            memory = problem.summarize(rows, part, user.labels, memory, run.shared)
        return dict(memory)


def train(run: Run, users: Sequence[UserExamples], steps: Sequence[int], watch: Watch | None = None) -> Trained:
    """Takes inner steps for T users at once, from their previous versions or else from the run's initializer.

    The states after each number of `steps` are kept. `watch` sees every state and may end the steps with False. All
    users have a previous version with class means, or none has.
    """
    support = encode(run, users, [user.support for user in users])
    start = _start(run, users, support)
    kept = {0: start}

    def keep(k: int, state: State) -> bool | None:
        if k in steps:
            kept[k] = state
        return None if watch is None else watch(k, state)

    inner_loop.adapt(run.parts, run.theta, support, max(steps), state=start, watch=keep)
    return Trained(run, users, support, kept)


def encode(run: Run, users: Sequence[UserExamples], examples: Sequence[Sequence[Example]]) -> Batch:
    """Support sets of T users as a batch, with their class means of earlier examples."""
    batch = run.problem.support([user.episode(part) for user, part in zip(users, examples, strict=True)])
    return with_memories(run, users, batch)


def with_memories(run: Run, users: Sequence[UserExamples], batch: Batch) -> Batch:
    """A batch of T users with their class means of earlier examples."""
    memory = {name: np.concatenate([user.memory[name] for user in users]) for name in users[0].memory}
    return {**batch, **{name: run.ops.array(value) for name, value in memory.items()}}


def _start(run: Run, users: Sequence[UserExamples], support: Batch) -> State:
    """The initial state, with the temperatures fitted on the calibration sets.

    They are fitted before the first step: after training on these examples the model would look too confident.
    """
    parts, previous = run.parts, [user.previous for user in users if user.previous is not None]
    if not previous:
        state = inner_loop.begin(parts, run.theta, support)
    else:
        regularizer = {
            name: run.ops.array(np.concatenate([version.state.regularizer[name] for version in previous]))
            for name in previous[0].state.regularizer
        }
        state = inner_loop.resume(parts, engine_rows(run, [version.state for version in previous]), regularizer)
    same = all(user.calibration == user.support for user in users)
    calibration = support if same else encode(run, users, [user.calibration for user in users])
    return {**state, "rows": run.problem.with_temperature(state["rows"], calibration, run.shared)}


def _finish_task(run: Run, end: State, user: UserExamples, memory: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The regularizer's state for the user's next task; `end` holds one row.

    Class means are constants in the gradients of single examples.
    """
    left = inner_loop.end(
        run.parts, run.theta, end, lambda: single_examples(run.parts, user.sample, user.labels, memory)
    )
    return {name: run.ops.numpy(value) for name, value in left.items()}

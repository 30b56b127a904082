"""What a method is asked after each task: its answers among a task's own labels, or among those of all tasks so far."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...core.class_means import averaged
from ...problems.language import classified
from .methods.method import Lesson, Means, Method, State
from .methods.separate import Separate

Ask = Callable[[Method, State, Lesson, Sequence[Lesson]], float | None]
"""The measure of a method on a task, beside the tasks that were learned so far; None where it can't be asked."""


def known(method: Method, state: State, one: Lesson, learned: Sequence[Lesson]) -> float:
    """The task is known: accuracy among its own labels, or bits per byte of its texts."""
    ops, test = method.ops, one.test
    if not one.task.labels:
        row = method.row(state, one.task.name)
        return float(method.problem.measure(row, test)["bits_per_byte"][0])
    found = ops.numpy(method.predict(state, one))
    return float(classified(found, ops.numpy(test["onehot"]), ops.numpy(test["weights"]))["accuracy"][0])


def among_all(method: Method, state: State, one: Lesson, learned: Sequence[Lesson]) -> float | None:
    """Accuracy among the labels of all tasks so far, each learned among its own; None for a task that is still to come.

    Labels of one name are one class, whatever task they came with. Class means are those that each task left. Only
    where each task has a row of its own, which has seen no others, are the candidates its own.
    """
    if not any(each.task.name == one.task.name for each in learned):
        return None
    if type(method) is Separate:
        return known(method, state, one, learned)
    labels = tuple(dict.fromkeys(label for each in learned for label in each.task.labels))
    means = merged([(each.task.labels, state.means[each.task.name]) for each in learned], labels)
    wide = Lesson(replace(one.task, labels=labels), one.support, method.problem.ask(one.task.test, labels))
    return known(method, replace(state, means={**state.means, one.task.name: means}), wide, learned)


def merged(parts: Sequence[tuple[Sequence[str], Means]], labels: Sequence[str]) -> Means:
    """Class means of several tasks in the order of `labels`; where a label is in several, the mean over all examples.

    Nothing for a readout that keeps none. Every mean of a task but its "counts" counts alike.
    """
    if not all(means for _, means in parts):
        return {}
    place, found = {label: i for i, label in enumerate(labels)}, Means()
    for name, like in parts[0][1].items():
        if name == "counts":
            continue
        sums, counts = np.zeros((len(labels), like.shape[1]), np.float32), np.zeros(len(labels), np.int32)
        for own, means in parts:
            at = [place[label] for label in own]
            sums[at] += means[name].astype(np.float32) * means["counts"][:, None]
            counts[at] += means["counts"]
        found |= {name: averaged(sums, counts)["means"], "counts": counts}
    return found


PROTOCOLS: dict[str, Ask] = {"known": known, "all": among_all}

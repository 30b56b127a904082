"""How a method is measured after each task: task-incremental or class-incremental (van de Ven and Tolias 2019)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...core.class_means import average
from ...problems.language import classified
from .methods.method import EncodedTask, Means, Method, State
from .methods.single_task import SingleTask

Scenario = Callable[[Method, State, EncodedTask, Sequence[EncodedTask]], float | None]
"""The measure of a method on a task, given the tasks learned so far; None where it can't be measured."""


def task_incremental(method: Method, state: State, one: EncodedTask, learned: Sequence[EncodedTask]) -> float:
    """The task is known: accuracy among its own labels, or bits per byte of its texts."""
    ops, test = method.ops, one.test
    if not one.task.labels:
        row = method.row_for(state, one.task.name)
        return float(method.problem.measure(row, test, method.shared)["bits_per_byte"][0])
    probabilities = ops.numpy(method.predict(state, one))
    return float(classified(probabilities, ops.numpy(test["onehot"]), ops.numpy(test["weights"]))["accuracy"][0])


def class_incremental(method: Method, state: State, one: EncodedTask, learned: Sequence[EncodedTask]) -> float | None:
    """Accuracy among the labels of all tasks so far, each learned among its own; None for a task not learned yet.

    Labels of the same name are one class, in whatever task they came. Class means are those stored after each task.
    With a row per task the candidates are the task's own labels: its row has seen no others.
    """
    if not any(each.task.name == one.task.name for each in learned):
        return None
    if type(method) is SingleTask:
        return task_incremental(method, state, one, learned)
    labels = tuple(dict.fromkeys(label for each in learned for label in each.task.labels))
    means = merged([(each.task.labels, state.means[each.task.name]) for each in learned], labels)
    wide = EncodedTask(replace(one.task, labels=labels), one.support, method.problem.ask(one.task.test, labels))
    state = replace(state, means={**state.means, one.task.name: means})
    return task_incremental(method, state, wide, learned)


def merged(tasks: Sequence[tuple[Sequence[str], Means]], labels: Sequence[str]) -> Means:
    """Class means of several tasks in the order of `labels`; the mean over all examples for a label of several tasks.

    Empty for a readout without class means. All kinds of means but "counts" are merged alike.
    """
    if not all(means for _, means in tasks):
        return {}
    place = {label: i for i, label in enumerate(labels)}
    together = Means()
    for name, like in tasks[0][1].items():
        if name == "counts":
            continue
        sums, counts = np.zeros((len(labels), like.shape[1]), np.float32), np.zeros(len(labels), np.int32)
        for own, means in tasks:
            at = [place[label] for label in own]
            sums[at] += means[name].astype(np.float32) * means["counts"][:, None]
            counts[at] += means["counts"]
        together |= {name: average(sums, counts)["means"], "counts": counts}
    return together


SCENARIOS: dict[str, Scenario] = {"task-incremental": task_incremental, "class-incremental": class_incremental}

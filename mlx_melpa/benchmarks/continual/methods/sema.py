"""SEMA: a task whose texts no module knows gets a new one, up to a fixed number; a router mixes their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ....core.bounds import Count, Positive
from .method import Lesson, Method, Start, State
from .routed import Routed

AXES = 16
"""Numbers that a descriptor reconstructs features from."""
Statistics = Mapping[str, np.ndarray]
"""Per module: center (M, d), axes (M, AXES, d), error (M, 2), all fp16, and used (M,), the mask."""


class Sema(Routed):
    """w_m = the steps on L_i from w_m: m is new where min_m mean_x z_m(x) > threshold and one is free, else that least.

    Over the features x of the start, e_m(x) = |x - m's reconstruction of x|, z_m(x) = (e_m(x) - mean) / deviation, and
    p(y | x) = sum_m s_m(x) p_m(y | x) with s_m(x) = softmax_m(-e_m(x) / the modules' mean deviation).
    Wang et al. 2024 add modules layer by layer, each with an autoencoder, and train a linear router. Here a module is a
    row; its descriptor is the best linear autoencoder, the main axes of its first task's features; mean and deviation
    are of errors on texts left out (axes of each half, errors of the other); the router follows from the errors, and
    mixes answers, not what layers add. Where nothing is new the paper trains the classifier alone; an adapter has none,
    so the module goes on learning, while its descriptor stays. All modules are there from the start, under a mask.
    """

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, modules: int, threshold: float):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks)
        self.modules, self.threshold = modules, threshold

    def begin(self) -> State:
        """All modules at the start's row, none used."""
        return State(self.ops.concatenate([Method.begin(self).rows] * self.modules, 0))

    def learn(self, state: State, lessons: Sequence[Lesson]) -> State:
        """The state with a module moved for each task, and described where it is new."""
        for one in lessons:
            x = self.features(one.task.train)
            at, statistics = self.place(state.statistics or self.blank(x.shape[1]), x)
            row = self.trained(replace(state, rows=state.rows[at : at + 1]), [one])["rows"]
            rows = self.ops.concatenate([state.rows[:at], row, state.rows[at + 1 :]], 0)
            row_of = {**state.row_of, one.task.name: at}
            state = replace(self.known(state, row, [one]), rows=rows, row_of=row_of, statistics=statistics)
        return state

    def blank(self, width: int) -> Statistics:
        """Statistics of no module yet, for features of a width."""
        shapes = {"center": (width,), "axes": (AXES, width), "error": (2,)}
        empty = {name: np.zeros((self.modules, *shape), np.float16) for name, shape in shapes.items()}
        return {**empty, "used": np.zeros(self.modules, bool)}

    def place(self, statistics: Statistics, x: np.ndarray) -> tuple[int, Statistics]:
        """The module for a task with features x (n, d), and the statistics, which describe it where it is new."""
        used = int(statistics["used"].sum())
        if used:
            mean, deviation = statistics["error"][:used].astype(np.float32).T
            novelty = ((errors(statistics, x) - mean) / deviation).mean(0)
            if used == self.modules or novelty.min() <= self.threshold:
                return int(novelty.argmin()), statistics
        found = {name: array.copy() for name, array in statistics.items()}
        for name, value in described(x).items():
            found[name][used] = value
        return used, found

    def shares(self, state: State, x: np.ndarray) -> np.ndarray:
        """The softmax of less the errors, in mean deviations, over the used modules; 0 for the others."""
        used = state.statistics["used"]
        scaled = errors(state.statistics, x) / state.statistics["error"][used, 1].astype(np.float32).mean()
        likely = np.exp(scaled.min(-1, keepdims=True) - scaled)
        shares = np.zeros((len(x), self.modules), np.float32)
        shares[:, used] = likely / likely.sum(-1, keepdims=True)
        return shares

    def trainable(self) -> int:
        """All modules."""
        return self.modules * Method.trainable(self)


def described(x: np.ndarray) -> dict[str, np.ndarray]:
    """A module's statistics from the features (n, d) of its first task."""
    size = min(AXES, max(0, len(x) // 2 - 1))
    halves = [(x[0::2], x[1::2]), (x[1::2], x[0::2])]
    left_out = np.concatenate([error(apart, *fitted(half, size)) for half, apart in halves])
    center, axes = fitted(x, size)
    all_axes = np.zeros((AXES, x.shape[1]))
    all_axes[: len(axes)] = axes
    spread = np.array([left_out.mean(), max(float(left_out.std()), 1e-3)])
    return {"center": center, "axes": all_axes, "error": spread, "used": np.array(True)}


def fitted(x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean (d,) of features (n, d) and their `size` main axes (size, d)."""
    center = x.mean(0)
    return center, np.linalg.svd(x - center, full_matrices=False)[2][:size]


def error(x: np.ndarray, center: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """How far (n,) features (n, d) lie from the plane through a center along axes."""
    away = x - center
    return np.asarray(np.linalg.norm(away - away @ axes.T @ axes, axis=-1))


def errors(statistics: Statistics, x: np.ndarray) -> np.ndarray:
    """The used modules' errors (n, M') for features (n, d)."""
    center, axes = (statistics[name][statistics["used"]].astype(np.float32) for name in ("center", "axes"))
    return np.stack([error(x, *one) for one in zip(center, axes, strict=True)], -1)


def sema(start: Start, *, steps: int, seed: int, tasks: int, modules: Count = 5, threshold: Positive = 0.5) -> Sema:
    """Builds SEMA with so many `modules` at most, a new one where the mean z of a task's texts exceeds `threshold`."""
    return Sema(start, steps=steps, seed=seed, tasks=tasks, modules=modules, threshold=threshold)

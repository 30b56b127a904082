"""SEMA: a task whose texts no module reconstructs gets a new one, up to a limit; a router mixes the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .method import EncodedTask, Initialization, Method, State
from .routed import Routed

DESCRIPTOR_AXES = 16
"""Principal axes of a module's descriptor."""
Statistics = Mapping[str, np.ndarray]
"""Per module: center (M, d), axes (M, DESCRIPTOR_AXES, d), error (M, 2), all fp16, and used (M,), the mask."""


class Sema(Routed):
    """w_m = the steps on L_i from w_m; m is new if min_m mean_x z_m(x) > threshold and one is free, else the minimum.

    Over frozen features x, e_m(x) = |x - m's reconstruction of x|, z_m(x) = (e_m(x) - mean) / deviation, and
    p(y | x) = sum_m s_m(x) p_m(y | x) with s_m(x) = softmax_m(-e_m(x) / the modules' mean deviation).
    Wang et al. 2024 add modules layer by layer, each with an autoencoder, and train a linear router. Here a module is a
    row. Its descriptor is the best linear autoencoder: the principal axes of its first task's features. Mean and
    deviation are of errors on held-out texts (axes of each half, errors of the other). The router follows from the
    errors and mixes answers, not layers' outputs. For a known task the paper trains the classifier alone; an adapter
    has none, so the module is trained further and its descriptor is kept. All modules exist from the start, masked.
    """

    def __init__(
        self, start: Initialization, *, steps: int, seed: int, tasks: int, modules: int = 5, threshold: float = 0.5
    ):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks)
        self.modules, self.threshold = modules, threshold

    def begin(self) -> State:
        """All modules at the initialization, none used."""
        return State(self.ops.concatenate([Method.begin(self).rows] * self.modules, 0))

    def learn(self, state: State, tasks: Sequence[EncodedTask]) -> State:
        """The state with one module trained for each task, and described where it is new."""
        for one in tasks:
            x = self.features(one.task.train)
            at, statistics = self.choose_module(state.statistics or self.empty_statistics(x.shape[1]), x)
            row = self.train(replace(state, rows=state.rows[at : at + 1]), [one])["rows"]
            rows = self.ops.concatenate([state.rows[:at], row, state.rows[at + 1 :]], 0)
            row_of = {**state.row_of, one.task.name: at}
            state = replace(self.add_tasks(state, row, [one]), rows=rows, row_of=row_of, statistics=statistics)
        return state

    def empty_statistics(self, width: int) -> Statistics:
        """The statistics before the first module, for features of a width."""
        shapes = {"center": (width,), "axes": (DESCRIPTOR_AXES, width), "error": (2,)}
        empty = {name: np.zeros((self.modules, *shape), np.float16) for name, shape in shapes.items()}
        return {**empty, "used": np.zeros(self.modules, bool)}

    def choose_module(self, statistics: Statistics, x: np.ndarray) -> tuple[int, Statistics]:
        """The module for a task with features x (n, d), and the statistics, with a new module described."""
        used = int(statistics["used"].sum())
        if used:
            mean, deviation = statistics["error"][:used].astype(np.float32).T
            novelty = ((reconstruction_errors(statistics, x) - mean) / deviation).mean(0)
            if used == self.modules or novelty.min() <= self.threshold:
                return int(novelty.argmin()), statistics
        described = {name: array.copy() for name, array in statistics.items()}
        for name, value in descriptor(x).items():
            described[name][used] = value
        return used, described

    def routing(self, state: State, x: np.ndarray) -> np.ndarray:
        """The softmax of minus the errors, in mean deviations, over the used modules; 0 for the others."""
        used = state.statistics["used"]
        scaled = (
            reconstruction_errors(state.statistics, x) / state.statistics["error"][used, 1].astype(np.float32).mean()
        )
        likely = np.exp(scaled.min(-1, keepdims=True) - scaled)
        weights = np.zeros((len(x), self.modules), np.float32)
        weights[:, used] = likely / likely.sum(-1, keepdims=True)
        return weights

    def trained_parameters(self) -> int:
        """All modules."""
        return self.modules * Method.trained_parameters(self)


def descriptor(x: np.ndarray) -> dict[str, np.ndarray]:
    """A module's statistics from the features (n, d) of its first task."""
    size = min(DESCRIPTOR_AXES, max(0, len(x) // 2 - 1))
    halves = [(x[0::2], x[1::2]), (x[1::2], x[0::2])]
    left_out = np.concatenate([distance(other, *principal_axes(half, size)) for half, other in halves])
    center, axes = principal_axes(x, size)
    all_axes = np.zeros((DESCRIPTOR_AXES, x.shape[1]))
    all_axes[: len(axes)] = axes
    spread = np.array([left_out.mean(), max(float(left_out.std()), 1e-3)])
    return {"center": center, "axes": all_axes, "error": spread, "used": np.array(True)}


def principal_axes(x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean (d,) of features (n, d) and their first `size` principal axes (size, d)."""
    center = x.mean(0)
    return center, np.linalg.svd(x - center, full_matrices=False)[2][:size]


def distance(x: np.ndarray, center: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The distances (n,) of features (n, d) from the plane through a center along axes."""
    centered = x - center
    return np.asarray(np.linalg.norm(centered - centered @ axes.T @ axes, axis=-1))


def reconstruction_errors(statistics: Statistics, x: np.ndarray) -> np.ndarray:
    """The distances (n, M') of features (n, d) from the planes of the used modules."""
    center, axes = (statistics[name][statistics["used"]].astype(np.float32) for name in ("center", "axes"))
    return np.stack([distance(x, *one) for one in zip(center, axes, strict=True)], -1)

"""What a stream of tasks did to accuracy: numbers of the matrix R, and their intervals over orders and seeds.

R[i, j] is the accuracy on task j after learning tasks 0..i, (T, T). A method that learns all tasks at once has the last
row only, the others NaN; what needs them is NaN too, and so is what needs two tasks where there is one.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ...evaluation.intervals import crossed

NAMES = ("acc", "bwt", "forgetting", "learning_accuracy", "fwt_gem", "fwt_single")


def acc(r: np.ndarray) -> float:
    """mean_j R[T-1, j]: the accuracy on all tasks at the end."""
    return float(r[-1].mean())


def bwt(r: np.ndarray) -> float:
    """mean_{j<T-1} R[T-1, j] - R[j, j]: backward transfer, below 0 where tasks were forgotten (GEM)."""
    return _mean((r[-1] - np.diag(r))[:-1])


def forgetting(r: np.ndarray) -> float:
    """mean_{j<T-1} max_{j<=l<T-1} R[l, j] - R[T-1, j]: from a task's best to its end (Chaudhry et al. 2018).

    The best is taken since the task was learned: what was right before that was not forgotten by learning others.
    """
    best = np.where(np.tri(len(r), dtype=bool), r, -np.inf)[:-1, :-1]
    return _mean((best.max(0) if len(best) else np.zeros(0)) - r[-1, :-1])


def learning_accuracy(r: np.ndarray) -> float:
    """mean_j R[j, j]: the accuracy on each task right after it was learned (Riemer et al. 2019)."""
    return float(np.diag(r).mean())


def fwt_gem(r: np.ndarray, untrained: np.ndarray) -> float:
    """mean_{j>0} R[j-1, j] - b[j], b (T,) of the untrained model: forward transfer of Lopez-Paz and Ranzato 2017."""
    return _mean(np.diag(r, 1) - untrained[1:])


def fwt_single(r: np.ndarray, single: np.ndarray) -> float:
    """mean_{j>0} R[j, j] - s[j], s (T,) of models trained on task j alone: forward transfer as MeLPA writes it."""
    return _mean((np.diag(r) - single)[1:])


def measures(
    r: np.ndarray, untrained: np.ndarray, single: np.ndarray | None = None, *, sign: int = 1
) -> dict[str, float]:
    """All numbers of one stream by NAMES; fwt_single is NaN without `single`. `sign` is -1 where less is better."""
    alone = np.full(len(r), np.nan) if single is None else single
    better = sign * r
    found = {"acc": acc(r), "bwt": bwt(better), "forgetting": forgetting(better)}
    found |= {"learning_accuracy": learning_accuracy(r), "fwt_gem": fwt_gem(better, sign * untrained)}
    return {**found, "fwt_single": fwt_single(better, sign * alone)}


def summary(runs: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float | None]]:
    """Per name the mean over runs (seeds x orders) and half the width of its 95% interval, None for NaN."""
    found: dict[str, dict[str, float | None]] = {}
    for name in runs[0][0]:
        values = np.array([[run[name] for run in orders] for orders in runs], np.float64)
        found[name] = {**crossed(values)} if np.isfinite(values).all() else {"mean": None, "ci95": None}
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")

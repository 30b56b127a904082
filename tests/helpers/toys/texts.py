"""Random sentences as episodes, rows that change the model, and losses of each task alone."""

import numpy as np

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.problems.language import Language

WORDS = ("the", "little", "dog", "ran", "to", "a", "big", "red", "house", "and", "saw", "one", "happy", "bird", "tree")


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(2, 9)))


def episode(seed: int, names: str = "abc", shots: int = 2, queries: int = 2) -> Episode:
    rng = np.random.default_rng(seed)
    support = [Example(sentence(rng), label=name) for name in names for _ in range(shots)]
    query = [Example(sentence(rng), label=name) for name in names for _ in range(queries)]
    order = rng.permutation(len(support))
    return Episode("e", tuple(support[i] for i in order), tuple(query), tuple(names))


def random_rows(problem: Language, count: int, seed: int = 0) -> np.ndarray:
    """Rows that change the model: both factors of LoRA are drawn."""
    rng = np.random.default_rng(seed)
    rows = np.stack([problem.layout.draw(rng) for _ in range(count)])
    rows[:, : problem.model.layout.size] += 0.1 * rng.standard_normal((count, problem.model.layout.size))
    return rows.astype(np.float32)


def each_alone(problem: Language, rows: np.ndarray, episodes: list[Episode], part: int) -> list[float]:
    alone = []
    for row, one in zip(rows, episodes, strict=True):
        batch = problem.prepare([one])[part]
        alone.append(float(ops.numpy(problem.losses(ops.array(row[None]), batch, {}))[0]))
    return alone

"""A small table of kinds, a recipe of them, and what is said of a faulty one."""

from typing import Annotated, Any, Literal

import pytest

from mlx_melpa.core.bounds import Bounds, Count, Positive, Share
from mlx_melpa.errors import RecipeError


class Starts:
    trains = frozenset({"initializer"})


class Rates(tuple[str, float, bool]):
    learnable = True


def jsonl(
    *,
    train: str | list[str],
    shots: Count = 5,
    queries: Count | None = 5,
    hold_out: list[str] | Share = 0.2,
    columns: dict[str, str] = {},  # noqa: B006
) -> dict[str, Any]:
    return {"train": train, "shots": shots, "queries": queries, "hold_out": hold_out, "columns": columns}


def lora(
    *,
    rank: Annotated[int, Bounds(1, 256)] = 8,
    scale: Positive = 2.0,
    layers: Literal["all"] | Count | list[int] = "all",
) -> tuple[int, float]:
    return rank, scale


def meta_sgd(ops: str, *, lr: Positive = 0.1, each: bool = False) -> Rates:
    return Rates((ops, lr, each))


def reptile(parts: str, *, steps: Count = 5) -> Starts:
    return Starts()


def plain() -> str:
    return "plain"


def fomaml(ops: str, *, steps: Count = 5) -> int:
    return steps


TABLES = {
    "adapter": {"lora": lora},
    "tasks": {"jsonl": jsonl, "sinusoid": plain},
    "problem": {"language": plain, "regression": plain},
    "readout": {"prototypes": plain, "completion": plain},
    "initializer": {"universal": plain},
    "rule": {"meta_sgd": meta_sgd, "sgd": plain},
    "regularizer": {"none": plain},
    "sampler": {"uniform": plain},
    "learner": {"fomaml": fomaml, "maml": fomaml, "reptile": reptile},
}
GOOD = """\
# a comment
model: pocket
adapter: {kind: lora, rank: 4}
tasks:
  kind: jsonl
  train: notes.jsonl
rule:
  kind: meta_sgd
  lr: 1e-4
learner: fomaml
"""


def said(load: Any, text: str, *sets: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(text, *sets)
    return str(caught.value)

"""What a benchmark of recommendations came to: candidates, predictors and embeddings, as tables and a picture"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.plots import plot_bars
from ...recommendation.recommend import best
from ...recommendation.similarity import distances
from . import predictors as predicted
from .settings import Settings

CLAIMED = {"best": 0.90, "same_source": 0.85}
"""What the review that asked for this claims: the best method predicted, and tasks known by similarity."""
APART = ", other sources"


def summed(cases: Sequence[Any], settings: Settings) -> dict[str, Any]:
    """All that is told, shares and accuracies from 0 to 1, each with the half width of its 95% interval."""
    names, sources = list(settings.candidates), [case.source for case in cases]
    accuracy = np.array([[case.truth[name]["accuracy"] for name in names] for case in cases])
    queries = np.array([case.queries for case in cases])
    kinds = [kind for kind in cases[0].embeddings if all(kind in case.embeddings for case in cases)]
    away = {kind: distances(kind, np.stack([case.embeddings[kind] for case in cases])) for kind in kinds}
    chosen, constants = choices(accuracy, sources, away, settings.neighbours)
    guessed = np.array([names.index(best(case.left_out, names)) for case in cases])
    chosen = {"left out": guessed, **chosen}
    bests = predicted.best_ones(accuracy)

    def told(values: np.ndarray) -> Mapping[str, float]:
        return predicted.over_sources(values, sources)

    predictors = {}
    for name, choice in chosen.items():
        found = predicted.judged(accuracy, choice, queries)
        constant = constants[APART if name.endswith(APART) else ""]
        gain = predicted.judged(accuracy, constant, queries)["regret"] - found["regret"]
        predictors[name] = {key: told(values) for key, values in {**found, "gain": gain}.items()}
    notes = [*settings.notes, *(f"{name} is not possible here and was left out" for name in settings.impossible)]
    return {
        "cases": len(cases),
        "sources": {name: sources.count(name) for name in dict.fromkeys(sources)},
        "sizes": settings.identity() | {"neighbours": settings.neighbours},
        "candidates": {
            name: {"accuracy": told(accuracy[:, i]), "best": told(bests[:, i])} for i, name in enumerate(names)
        },
        "tied": told(bests.sum(1) > 1),
        "chance": {"best": float(bests.mean()), "regret": float((accuracy.max(1) - accuracy.mean(1)).mean())},
        "predictors": predictors,
        "similarity": {kind: told(predicted.same_source(apart, sources)) for kind, apart in away.items()},
        "similarity_chance": predicted.by_chance(sources),
        "claimed": CLAIMED,
        "notes": notes,
    }


def choices(
    accuracy: np.ndarray, sources: Sequence[str], away: Mapping[str, np.ndarray], k: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What each predictor takes for each case, and the constants, by the end of the names that they are held against.

    Where there are several sources, each is there again without the other cases of a case's own source.
    """
    found: dict[str, np.ndarray] = {}
    constants: dict[str, np.ndarray] = {}
    for end in ("", APART) if len(set(sources)) > 1 else ("",):
        known = predicted.others(sources, apart=bool(end))
        constants[end] = found[f"constant{end}"] = predicted.by_mean(accuracy, known)
        for kind, apart in away.items():
            found[f"neighbours by {kind}{end}"] = predicted.by_neighbours(accuracy, known, apart, k)
    return found, constants


Table = tuple[str, list[str], list[list[str]]]


def tables(found: Mapping[str, Any]) -> list[Table]:
    """Title, columns and lines of each table, in percent."""
    candidates = [[name, _percent(e["accuracy"]), _percent(e["best"])] for name, e in found["candidates"].items()]
    lines = [
        [name, *(_percent(entry[key]) for key in ("best", "within_one", "regret", "gain"))]
        for name, entry in found["predictors"].items()
    ]
    chance, claimed = found["chance"], found["claimed"]
    lines.append(["one at random", f"{100 * chance['best']:.1f}", "", f"{100 * chance['regret']:.1f}", ""])
    lines.append(["claimed", f"{100 * claimed['best']:.0f}", "", "", ""])
    near = [[name, _percent(value)] for name, value in found["similarity"].items()]
    near.append(["one at random", f"{100 * found['similarity_chance']:.1f}"])
    near.append(["claimed", f"{100 * claimed['same_source']:.0f}"])
    columns = ["predictor", "takes a best one", "within one query", "points lost", "points over the constant"]
    return [
        ("Candidates", ["candidate", "accuracy", "is a best one"], candidates),
        ("Is the best candidate predicted?", columns, lines),
        ("Is the nearest other case of the same source?", ["task embedding", "same source"], near),
    ]


def head(found: Mapping[str, Any]) -> str:
    """What was measured, in a few sentences."""
    sizes, tied = found["sizes"], found["tied"]
    ways = "all" if sizes["ways"] is None else f"up to {sizes['ways']}"
    return (
        f"{found['cases']} cases from {len(found['sources'])} sources, of {ways} labels with {sizes['shots']} examples "
        f"each; the truth is accuracy on up to {sizes['queries']} more of each. In {_percent(tied)}% of cases several "
        f"candidates are equally good, and any of them counts as a best one. Neighbours are the {sizes['neighbours']} "
        "nearest other cases. All numbers in percent, with 95% intervals over sources."
    )


def markdown(found: Mapping[str, Any]) -> str:
    """The tables as Markdown, with what was measured above and notes below."""
    said = [head(found)]
    for title, columns, lines in tables(found):
        rows = (columns, ["---"] * len(columns), *lines)
        said.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(said) + "\n" + "".join(f"\n- {note}" for note in found["notes"]) + "\n"


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Draws what each predictor loses against the best candidate."""
    lost = {name: (100 * e["regret"]["mean"], 100 * e["regret"]["ci95"]) for name, e in found["predictors"].items()}
    lost["one at random"] = (100 * found["chance"]["regret"], 0.0)
    plot_bars(folder / "recommend.png", lost, x="points of accuracy below the best candidate")


def _percent(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:.1f} ± {100 * value['ci95']:.1f}"

"""Predictors on hand-made matrices, and against loops that are written another way."""

from types import SimpleNamespace

import numpy as np
import pytest

from mlx_melpa.benchmarks.recommendation import predictors as predicted
from mlx_melpa.benchmarks.recommendation.report import APART, choices, head, summed, tables

HAND = np.array([[0.9, 0.1], [0.2, 0.3], [0.2, 0.3], [0.2, 0.3]])


def test_the_constant_is_best_over_the_other_cases() -> None:
    """Case 0 alone speaks for candidate 0, and does not speak for itself."""
    known = predicted.others(["a", "a", "b", "b"])
    assert predicted.by_mean(HAND, known).tolist() == [1, 0, 0, 0]
    apart = predicted.others(["a", "a", "b", "b"], apart=True)
    assert predicted.by_mean(HAND, apart).tolist() == [1, 1, 0, 0]  # case 1 may not learn from case 0 now


def test_of_equal_candidates_the_first_is_taken() -> None:
    known = predicted.others(["a"] * 3)
    assert predicted.by_mean(np.array([[0.1 + 0.2, 0.3]] * 3), known).tolist() == [0, 0, 0]
    assert predicted.by_mean(np.array([[0.3, 0.1 + 0.2]] * 3), known).tolist() == [0, 0, 0]


def test_neighbours_vote_by_their_mean_accuracy() -> None:
    """On a line at 0, 1, 3, 7 the nearest other cases are 1, 0, 1, 2."""
    place = np.array([0.0, 1, 3, 7])
    away = abs(place[:, None] - place)
    accuracy = np.array([[1.0, 0], [0, 1], [1, 0], [0, 0.1]])
    known = predicted.others(["a", "a", "b", "b"])
    assert predicted.by_neighbours(accuracy, known, away, 1).tolist() == [1, 0, 1, 0]
    assert predicted.by_neighbours(accuracy, known, away, 2).tolist() == [0, 0, 0, 0]  # of equal means the first
    apart = predicted.others(["a", "a", "b", "b"], apart=True)
    assert predicted.by_neighbours(accuracy, apart, away, 1).tolist() == [0, 0, 1, 1]
    assert predicted.by_neighbours(accuracy, apart, away, 9).tolist() == predicted.by_mean(accuracy, apart).tolist()


@pytest.mark.parametrize("apart", [False, True])
def test_neighbours_against_a_plain_loop(apart: bool) -> None:
    rng = np.random.default_rng(0)
    accuracy, points = rng.random((30, 4)), rng.standard_normal((30, 3))
    sources = [str(i % 4) for i in range(30)]
    away = np.linalg.norm(points[:, None] - points, axis=-1)
    found = predicted.by_neighbours(accuracy, predicted.others(sources, apart), away, 5)
    for i in range(30):
        may = [j for j in range(30) if j != i and not (apart and sources[j] == sources[i])]
        near = sorted(may, key=lambda j: away[i, j])[:5]
        assert found[i] == np.mean([accuracy[j] for j in near], axis=0).argmax()


def test_any_of_equal_bests_is_right_and_one_query_less_is_near() -> None:
    accuracy = np.array([[0.8, 0.8, 0.1], [0.5, 0.6, 0.1], [0.5, 0.6, 0.1], [np.float32(0.7), 0.7, 0]])
    found = predicted.judged(accuracy, np.array([1, 0, 2, 1]), np.full(4, 10))
    assert found["best"].tolist() == [True, False, False, True]
    assert found["within_one"].tolist() == [True, True, False, True]
    np.testing.assert_allclose(found["regret"], [0, 0.1, 0.5, 0], atol=1e-6)
    assert predicted.best_ones(accuracy).sum(1).tolist() == [2, 1, 1, 2]


def test_the_nearest_other_case_and_chance() -> None:
    place = np.array([0.0, 1, 5, 6, 3])
    away = abs(place[:, None] - place)
    same = predicted.same_source(away, ["a", "a", "b", "b", "a"])
    assert same.tolist() == [1, 1, 1, 1, 0.5]  # two as near: one of them
    assert predicted.by_chance(["a", "a", "b", "b", "a"]) == pytest.approx((2 + 2 + 1 + 1 + 2) / (5 * 4))
    rng = np.random.default_rng(1)
    sources = [str(i % 5) for i in range(200)]
    points = rng.standard_normal((200, 8))
    found = predicted.same_source(np.linalg.norm(points[:, None] - points, axis=-1), sources).mean()
    assert found == pytest.approx(predicted.by_chance(sources), abs=0.1)


def test_intervals_are_of_sources_and_hold_what_they_promise() -> None:
    values = np.array([1.0, 0, 1, 0, 1, 0])
    found = predicted.over_sources(values, ["a", "b"] * 3)  # means 1 and 0: one degree of freedom
    assert found["mean"] == 0.5 and found["ci95"] == pytest.approx(12.706 * 0.5, rel=1e-3)
    alone = predicted.over_sources(values, ["a"] * 6)
    assert alone["ci95"] == pytest.approx(2.571 * values.std(ddof=1) / 6**0.5, rel=1e-3)
    rng, inside, sources = np.random.default_rng(2), 0, [str(i % 8) for i in range(80)]
    for _ in range(500):
        found = predicted.over_sources(np.tile(rng.standard_normal(8), 10) + rng.standard_normal(80), sources)
        inside += abs(found["mean"]) <= found["ci95"]
    assert inside / 500 == pytest.approx(0.95, abs=0.03)


def case(source: str, truth: list[float], guess: list[float], place: float) -> SimpleNamespace:
    def measures(values: list[float]) -> dict[str, dict[str, float]]:
        return {name: {"accuracy": a, "loss": 1.0} for name, a in zip(("one", "adapt two"), values, strict=True)}

    told = {"truth": measures(truth), "left_out": measures(guess), "embeddings": {"features": np.array([1.0, place])}}
    return SimpleNamespace(source=source, queries=10, **told)


class Told(SimpleNamespace):
    def identity(self) -> dict[str, object]:
        return {"ways": 5, "shots": 5, "queries": 15}


def test_what_is_summed_up_of_four_cases() -> None:
    cases = [
        case("a", [0.9, 0.1], [1, 0], 0.0),
        case("a", [0.8, 0.2], [0, 1], 0.1),
        case("b", [0.1, 0.9], [0.5, 0.5], 3.0),
        case("b", [0.2, 0.8], [0, 1], 3.3),
    ]
    settings = Told(candidates={"one": 0, "adapt two": 0}, neighbours=1, notes=("said",), impossible=("in_context",))
    found = summed(cases, settings)  # type: ignore[arg-type]
    told = {name: entry["best"]["mean"] for name, entry in found["predictors"].items()}
    # Left out examples are wrong on the second case, and adapting is taken where both are equal.
    assert told["left out"] == 0.75 and told["neighbours by features"] == 1.0
    assert told["constant"] == 0.0 and told[f"neighbours by features{APART}"] == 0.0
    assert found["predictors"]["left out"]["regret"]["mean"] == pytest.approx(0.6 / 4)
    assert found["predictors"]["left out"]["gain"]["mean"] == pytest.approx((0.8 + 0 + 0.8 + 0.6 + 0 + 0) / 4 - 0)
    assert found["similarity"]["features"]["mean"] == 1.0 and found["similarity_chance"] == pytest.approx(1 / 3)
    assert found["candidates"]["one"]["best"]["mean"] == 0.5 and found["tied"]["mean"] == 0.0
    assert found["chance"] == {"best": 0.5, "regret": pytest.approx(0.35)}
    assert found["notes"] == ["said", "in_context is not possible here and was left out"]
    shown = {line[0]: line[1:] for _, _, lines in tables(found) for line in lines}
    assert shown["left out"][0].startswith("75.0 ±") and shown["claimed"] == ["85"]
    assert "4 cases from 2 sources" in head(found)


def test_one_source_has_no_other_sources() -> None:
    found, constants = choices(HAND, ["a"] * 4, {"features": np.ones((4, 4))}, 1)
    assert set(found) == {"constant", "neighbours by features"} and set(constants) == {""}

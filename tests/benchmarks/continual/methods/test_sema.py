"""SEMA: what is new, which module learns, and how their answers are mixed."""

from collections.abc import Callable

import numpy as np
import pytest

from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Method, State
from mlx_melpa.benchmarks.continual.methods.sema import Sema, descriptor, distance


@pytest.fixture
def method(built: Callable[..., Method]) -> Sema:
    found = built("sema", modules=2, threshold=2.0)
    assert isinstance(found, Sema)
    return found


def cloud(along: float, across: float, rng: np.random.Generator) -> np.ndarray:
    """60 features that spread along eight axes, and a little along 32 others; moved along the first and the last."""
    x = rng.standard_normal((60, 40)) * np.where(np.arange(40) < 8, 2.0, 0.1)
    x[:, 0] += along
    x[:, -1] += across
    return x


def test_an_error_is_the_distance_from_the_plane_of_the_axes() -> None:
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert distance(np.array([[7.0, 4.0, 4.0], [1.0, 1.0, 1.0]]), np.ones(3), axes) == pytest.approx([18**0.5, 0])


def test_a_descriptor_is_judged_on_texts_left_out() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 60))
    found = descriptor(x)
    inside = distance(x, found["center"], found["axes"])
    wanted = distance(rng.standard_normal((4000, 60)), found["center"], found["axes"])
    assert found["error"][0] == pytest.approx(wanted.mean(), rel=0.03)
    assert found["error"][0] > 1.3 * inside.mean()


def test_a_new_module_is_for_what_none_reconstructs_while_there_is_room(method: Sema) -> None:
    rng = np.random.default_rng(0)
    statistics = method.empty_statistics(40)
    places = []
    # Far along its own spread nothing is new; a step across it is; the third new one finds no room.
    for along, across in ((0, 0), (3, 0), (0, 1), (0, 5), (0, 0.1)):
        place, statistics = method.choose_module(statistics, cloud(along, across, rng))
        places.append((place, int(statistics["used"].sum())))
    assert places == [(0, 1), (0, 1), (1, 2), (1, 2), (0, 2)]


def test_the_router_is_a_softmax_of_errors_over_used_modules(method: Sema) -> None:
    method.modules = 3
    statistics = {name: array.copy() for name, array in method.empty_statistics(2).items()}
    statistics["used"][:2] = True
    statistics["center"][1] = [3, 0]
    statistics["error"][:2] = [[1, 0.5], [1, 1.5]]
    found = method.routing(State(None, statistics=statistics), np.array([[1.0, 0.0], [0.0, 4.0]]))
    first, second = np.exp([-1.0, -2.0]), np.exp([-4.0, -5.0])
    assert found == pytest.approx(np.array([[*first / first.sum(), 0], [*second / second.sum(), 0]]))


def test_a_module_learns_alone_and_the_capacity_is_fixed(
    method: Sema, encoded: list[EncodedTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, sizes, states = [], [], [method.begin()]
    for one, place in zip(encoded, (0, 1, 0), strict=True):
        monkeypatch.setattr(method, "choose_module", lambda statistics, x, place=place: (place, statistics))
        states.append(method.learn(states[-1], [one]))
    rows = [method.ops.numpy(state.rows) for state in states]
    for i, moved in enumerate((0, 1, 0)):
        changed = [not np.array_equal(rows[i][m], rows[i + 1][m]) for m in range(2)]
        assert changed == [m == moved for m in range(2)]
    sizes = [method.nbytes(state) - sum(a.nbytes for m in state.means.values() for a in m.values()) for state in states]
    assert sizes[1] == sizes[2] == sizes[3]
    assert sizes[0] == 2 * 2 * method.start.layout.size == 2 * method.trained_parameters()
    statistics = states[-1].statistics
    assert sizes[1] - sizes[0] == sum(array.nbytes for array in statistics.values())


def test_answers_are_mixed_by_shares(method: Sema, encoded: list[EncodedTask], monkeypatch: pytest.MonkeyPatch) -> None:
    state = method.begin()
    for one in encoded[:2]:
        state = method.learn(state, [one])
    asked, numbers = encoded[0], method.ops.numpy
    means = method.as_memory(state.means[asked.task.name])
    each = [
        numbers(method.problem.predict(state.rows[m : m + 1], {**asked.test, **means}, method.shared))[0]
        for m in range(2)
    ]
    monkeypatch.setattr(method, "routing", lambda state, x: np.tile(np.float32([[0.25, 0.75]]), (len(x), 1)))
    assert numbers(method.predict(state, asked))[0] == pytest.approx(0.25 * each[0] + 0.75 * each[1], abs=1e-6)

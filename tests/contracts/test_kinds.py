"""What every kind of every folder answers; a dummy of each folder fails where it answers nothing."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, get_type_hints

import numpy as np
import pytest
from toys.kinds import ANSWERING

from mlx_melpa.adapters.lora import Lora
from mlx_melpa.backends.mlx import ops
from mlx_melpa.config.kinds import FOLDERS, kind_class, kinds
from mlx_melpa.config.recipe import recipe_of
from mlx_melpa.config.schema import settings_of
from mlx_melpa.core import bases, protocols
from mlx_melpa.core.layout import Segment
from mlx_melpa.core.sites import Site
from mlx_melpa.core.types import Splits
from mlx_melpa.tasks.sinusoid import SinusoidTasks
from mlx_melpa.verification.cases import ADAPTER, Case, Choice, choices
from mlx_melpa.verification.suite import errors

PROTOCOLS: dict[str, Any] = {
    "adapter": bases.Adapter,
    "problem": protocols.Problem,
    "readout": bases.Readout,
    "initializer": protocols.Initializer,
    "rule": protocols.Rule,
    "regularizer": protocols.Regularizer,
    "sampler": protocols.Sampler,
    "learner": protocols.Learner,
}
EVERY = [(part, kind) for part in FOLDERS for kind in kinds(part)]


def check_builder(part: str, kind: str) -> None:
    """A builder has a docstring, and settings that a recipe can give."""
    builder = kinds(part)[kind]
    assert builder.__doc__, "no docstring"
    assert get_type_hints(builder).get("return"), "no return type"
    for name, setting in settings_of(builder).items():
        assert setting.hint is not Any, f"setting {name} has no type"


def check_answers(part: str, kind: str) -> None:
    """Its class answers all that the protocol leaves open."""
    if part == "tasks":
        assert get_type_hints(kinds(part)[kind])["return"] is Splits
        return
    found, protocol = kind_class(part, kind), PROTOCOLS[part]
    assert protocol in found.__mro__, f"{found.__name__} is no {protocol.__name__}"
    assert not found.__abstractmethods__, f"{found.__name__} leaves open: {sorted(found.__abstractmethods__)}"
    constants = [name for name, hint in get_type_hints(protocol).items() if "ClassVar" in str(hint)]
    assert [name for name in constants if not hasattr(found, name)] == []


def case(choice: Choice) -> Case:
    """The case that verifies a kind beside plain ones."""
    if choice.part == "readout":
        return Case(adapter=ADAPTER, readout=choice)
    if choice.part == "learner":
        return Case(regularizer=Choice("regularizer", "l2"))
    return Case(**{choice.part: choice})


def check_gradients(part: str, kind: str) -> None:
    """Its instances are verified: the meta-gradient through it is exact."""
    if part in ("tasks", "problem", "sampler"):
        return
    found = [choice for choice in choices(part) if choice.kind == kind]
    assert found, "no instance to verify"
    for choice in found:
        learner = choice if part == "learner" else Choice("learner", "maml")
        every = list(errors(case(choice).build(learner, ops, 0)))
        assert every, "nothing was verified"
        assert [error for error in every if not error.relative_error <= error.limit] == []


def check_adapter(part: str, kind: str) -> None:
    """An adapter has a strength, or stands before the text; and it counts its products."""
    if part == "adapter":
        adapter = Choice(part, kind).build()
        site = Site(0, "mlp", 3, 4)
        assert adapter.kind == kind
        assert any(s.scaled for s in adapter.segments(site)) != bool(adapter.tokens or adapter.keys)
        assert all(len(product) == 2 for product in adapter.products(site))


def check_sampler(part: str, kind: str) -> None:
    """A sampler draws the asked count, the same from the same seed."""
    if part == "sampler":
        draws = [kinds(part)[kind]().next(SinusoidTasks(shots=2, queries=2, spread=0.0), 3, 0, 4) for _ in range(2)]
        assert len(draws[0]) == 4
        assert all(np.array_equal(a.x_query, b.x_query) for a, b in zip(*draws, strict=True))


CONTRACT: tuple[Callable[[str, str], None], ...] = (
    check_builder,
    check_answers,
    check_adapter,
    check_sampler,
    check_gradients,
)


@pytest.mark.parametrize("check", CONTRACT[:4], ids=lambda check: check.__name__)
@pytest.mark.parametrize(("part", "kind"), EVERY)
def test_every_kind_answers(part: str, kind: str, check: Callable[[str, str], None]) -> None:
    """That the gradients of all are verified is held by tests/verification."""
    check(part, kind)


class Nothing:
    """Answers nothing."""


def nothing(*given: Any) -> Nothing:
    """Builds what answers nothing."""
    return Nothing()


@pytest.mark.parametrize("part", FOLDERS)
def test_a_new_kind_is_one_line_in_a_table(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It meets the contract, is verified, and stands in a recipe; what answers nothing fails."""
    table = import_module(f"mlx_melpa.{FOLDERS[part]}").KINDS
    monkeypatch.setitem(table, "dummy", ANSWERING[part])
    for check in CONTRACT:
        check(part, "dummy")
    tree = {"problem": "regression", "tasks": "sinusoid", "learner": "maml", "rule": "sgd"}
    if part in ("adapter", "readout"):
        tree = {"model": "pocket", "adapter": "lora", "tasks": "synthetic", "learner": "maml"}
    assert recipe_of({**tree, part: "dummy"}, "r").kind(part) == "dummy"
    monkeypatch.setitem(table, "dummy", nothing)
    with pytest.raises(AssertionError):
        check_answers(part, "dummy")


def test_an_adapter_without_strength_or_place_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Lora):
        kind: ClassVar[str] = "silent"

        def segments(self, site: Site) -> tuple[Segment, ...]:
            return (Segment(f"{site.name}.lora_a", (3, 1)), Segment(f"{site.name}.lora_b", (1, 4)))

    def silent(*, rank: int = 1) -> Silent:
        """Builds it."""
        return Silent(rank, 2.0, ["*"], "all")

    monkeypatch.setitem(import_module("mlx_melpa.adapters").KINDS, "silent", silent)
    with pytest.raises(AssertionError):
        check_adapter("adapter", "silent")

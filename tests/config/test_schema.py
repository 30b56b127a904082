"""Settings that several builders share: a dataclass stands for its fields."""

from dataclasses import dataclass

from mlx_melpa.config.schema import build, read_settings, settings_of
from mlx_melpa.core.bounds import Count


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Settings in common."""

    shots: Count = 5
    ways: Count | None = None


def builder(given: str, *, name: str, shared: Shared = Shared(), seed: int = 0) -> tuple[str, str, Shared, int]:
    """A kind with settings of its own and shared ones."""
    return given, name, shared, seed


def test_a_dataclass_stands_for_its_fields_in_a_recipe_and_is_made_of_them() -> None:
    assert list(settings_of(builder)) == ["name", "shots", "ways", "seed"]
    faults: list[str] = []
    read = read_settings({"name": "a", "ways": 2}, builder, (), lambda path, message: faults.append(message))
    assert read == {"name": "a", "shots": 5, "ways": 2, "seed": 0} and not faults
    assert build(builder, ("x",), read) == ("x", "a", Shared(shots=5, ways=2), 0)
    read_settings({"name": "a", "shots": 0}, builder, (), lambda path, message: faults.append(message))
    assert faults == ["expected a whole number at least 1, found 0"]

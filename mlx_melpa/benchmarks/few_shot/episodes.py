"""The episodes of a few-shot benchmark, the same for all methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from ...config.recipe import Recipe
from ...core.types import Episode
from ...errors import MelpaError
from ...evaluation import curves
from ...evaluation.compare import VALIDATION_SEED
from ...evaluation.unseen_tasks import Sizes, tasks_for
from .settings import Settings


@dataclass(frozen=True)
class Episodes:
    """The test and validation episodes of one number of shots, and notes on how they were drawn."""

    test: Sequence[Episode]
    validation: Sequence[Episode]
    notes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all episodes."""
        return sha256(repr((self.test, self.validation)).encode()).hexdigest()[:16]


def draw(settings: Settings, recipe: Recipe, shots: int) -> Episodes:
    """Draws the episodes of a recipe, the same in each call."""
    seen = recipe.make("tasks").training_hashes
    test, splits, notes = tasks_for(recipe, seen, settings.files, Sizes(settings.ways, shots, settings.queries))
    validation = curves.episodes(splits.validation, settings.tuning_episodes, VALIDATION_SEED)
    notes = tuple(dict.fromkeys((*notes, *splits.notes)))
    return Episodes(curves.episodes(test, settings.episodes, 0), validation, notes)


def draw_all(settings: Settings) -> dict[int, Episodes]:
    """The episodes by number of shots; raises MelpaError if two recipes draw different ones."""
    first, *others = settings.recipes
    found = {shots: draw(settings, first, shots) for shots in settings.shots}
    for recipe in others:
        for shots, drawn in found.items():
            if draw(settings, recipe, shots).test != drawn.test:
                raise MelpaError(
                    f"recipes {first.name} and {recipe.name} draw other test episodes at {shots} shots; give them the "
                    "same tasks.hold_out, and --ways and --queries, or run each with an --out of its own"
                )
    return found

"""ANIL: the inner steps move the head alone, the outer loop all: features are learned once, and reused."""

from typing import Annotated

from ..core.bases import Settings
from ..core.bounds import Bounds
from ..core.layout import Layout
from ..core.protocols import Parts
from ..errors import RecipeError
from .maml import Maml


class Anil(Maml):
    """MAML on a layout whose body is shared: meta-learned, the same for everyone, and no person's to store."""

    verify_with = ({"last": 1}, {"last": 0})

    @staticmethod
    def hold(layout: Layout, settings: Settings) -> Layout:
        """The layout with all but the `last` blocks that are adapted shared; a readout's own numbers stay a person's.

        Raises RecipeError where that leaves nothing to move, or nothing to share.
        """
        last, blocks = settings["last"], sorted({s.block for s in layout.segments if s.block is not None})
        body = blocks[: max(0, len(blocks) - last)]
        held = layout.sharing(body)
        if not body or not held.personal.size:
            raise RecipeError(
                f"learner.last: the last {last} of {len(blocks)} adapted blocks leave the inner steps "
                + ("all there is: take learner maml" if not body else "nothing to move: set it to 1 at least")
            )
        return held


def anil(parts: Parts, *, steps: Annotated[int, Bounds(1, 1000)] = 5, last: Annotated[int, Bounds(0)] = 1) -> Anil:
    """Builds ANIL over `steps` inner steps of the `last` adapted blocks and the readout (Raghu et al. 2020).

    With 0 blocks only the readout's own numbers move. The parts have a layout that was held by `Anil.hold` before the
    rule was built on it, as `compose` does.

    Use it when a user should store little and adapt fast: features are shared, a part is personal.
    Not when users differ in what they mean by the same text: their features must move too.

    steps: inner steps of an episode.
    last: adapted blocks that the inner steps move, from the top.
    """
    return Anil(parts, steps)

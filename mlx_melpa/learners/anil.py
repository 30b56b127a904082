"""ANIL: inner steps update the head alone, the outer loop trains all weights."""

from typing import Annotated

from ..core.bases import Settings
from ..core.bounds import Bounds
from ..core.layout import Layout
from ..core.protocols import Components
from ..errors import RecipeError
from .maml import Maml


class Anil(Maml):
    """MAML on a layout whose body is shared: it is meta-learned, the same for all users, and not stored per user."""

    verify_with = ({"last": 1}, {"last": 0})

    @staticmethod
    def freeze(layout: Layout, settings: Settings) -> Layout:
        """The layout with all but the `last` adapted blocks shared; a readout's own numbers stay personal.

        Raises RecipeError if no weight is left to update, or none to share.
        """
        last, blocks = settings["last"], sorted({s.block for s in layout.segments if s.block is not None})
        body = blocks[: max(0, len(blocks) - last)]
        frozen = layout.sharing(body)
        if not body or not frozen.personal.size:
            raise RecipeError(
                f"learner.last: the last {last} of {len(blocks)} adapted blocks leave the inner steps "
                + ("all there is: take learner maml" if not body else "nothing to move: set it to 1 at least")
            )
        return frozen


def anil(parts: Components, *, steps: Annotated[int, Bounds(1, 1000)] = 5, last: Annotated[int, Bounds(0)] = 1) -> Anil:
    """Builds ANIL over `steps` inner steps of the `last` adapted blocks and the readout (Raghu et al. 2020).

    With 0 blocks only the readout's own numbers are updated. `compose` applies `Anil.freeze` to the layout before it
    builds the parts.

    Use it when a user should store little and adapt fast: features are shared, a part is personal.
    Not when users differ in what they mean by the same text: their features must move too.

    steps: inner steps of an episode.
    last: adapted blocks that the inner steps move, from the top.
    """
    return Anil(parts, steps)

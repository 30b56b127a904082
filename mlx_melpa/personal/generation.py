"""Text from a user's adapted model, at any strength of the adapter, or from the base."""

from collections.abc import Iterator, Sequence

from ..config.build import part_of
from ..data.prompts import prompt_tokens, scale_rows
from ..errors import DataError
from ..store import Version
from ..store.run import Run


class Generator:
    """Writes as a user. `strength` scales the adapter's update: 0 is the base, 1 the adapter as trained."""

    def __init__(self, run: Run, version: Version, *, max_tokens: int = 200, temp: float = 0.7, seed: int = 0):
        if run.setup.model is None:
            raise DataError(f"run '{run.name}' has no language model to write with")
        self.run, self.version = run, version
        self.max_tokens, self.temp, self.seed, self.strength = max_tokens, temp, seed, 1.0
        self.form = version.origin.form or "lines"
        self._backend = part_of(run.setup.recipe.backend, "generate")

    @property
    def dialogue(self) -> bool:
        """True if earlier turns belong to the prompt: the user's examples were dialogues."""
        return self.form == "messages"

    def write(self, turns: Sequence[tuple[str, str]], *, adapted: bool = True) -> Iterator[str]:
        """Yields the answer to the last of ((role, content), ...) in pieces, from the adapted model or the base."""
        setup = self.run.setup
        tokens = prompt_tokens(setup.readout, setup.base.tokenizer, self.form, turns)
        layout = setup.model.layout
        acting = self.run.acting(self.version.state.rows)[None, : layout.size]
        rows = scale_rows(layout, acting, self.strength) if adapted else None
        yield from self._backend.write(
            setup.model, rows, tokens, max_tokens=self.max_tokens, temp=self.temp, seed=self.seed
        )

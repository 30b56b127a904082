"""A person's adapted model that writes: prompts as their examples were put, at any strength, beside the base."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..config.build import part_of
from ..data.prompts import prompt_tokens, scale_rows
from ..errors import DataError
from ..store import Version
from ..store.run import Run


class Speaker:
    """Writes as a version's owner. `strength` 0 is the base, 1 the adapter; between, its update is scaled."""

    def __init__(self, run: Run, version: Version, *, max_tokens: int = 200, temp: float = 0.7, seed: int = 0):
        if run.composed.model is None:
            raise DataError(f"run '{run.name}' has no language model to write with")
        self.run, self.version = run, version
        self.max_tokens, self.temp, self.seed, self.strength = max_tokens, temp, seed, 1.0
        backend = run.composed.recipe.resolved["backend"]
        self._generate: Any = part_of(backend, "generate")

    @property
    def dialogue(self) -> bool:
        """Says whether earlier turns belong to the prompt: the examples were dialogues."""
        return self.version.metrics.get("form") == "messages"

    def write(self, turns: Sequence[tuple[str, str]], *, adapted: bool = True) -> Iterator[str]:
        """Yields the answer to the last of ((role, content), ...) in pieces, from the adapted model or the base."""
        run, readout = self.run, self.run.composed.readout
        form = str(self.version.metrics.get("form", "lines"))
        tokens = prompt_tokens(readout, run.composed.base.tokenizer, form, turns)
        row = run.rows(self.version.state["rows"])
        rows = scale_rows(run.composed.layout, row, self.strength) if adapted else None
        yield from self._generate.write(
            run.composed.model, rows, tokens, max_tokens=self.max_tokens, temp=self.temp, seed=self.seed
        )

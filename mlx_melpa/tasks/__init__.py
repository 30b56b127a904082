"""Tasks: where episodes come from."""

from .hub import hub
from .jsonl import jsonl
from .mixed import mixed
from .sinusoid import sinusoid
from .synthetic import synthetic

KINDS = {"jsonl": jsonl, "hub": hub, "synthetic": synthetic, "mixed": mixed, "sinusoid": sinusoid}
KINDS["at_hand"] = mixed  # the name in runs made by versions before 0.2

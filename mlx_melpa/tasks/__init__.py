"""Tasks: where episodes come from."""

from .hub import hub
from .jsonl import jsonl
from .sinusoid import sinusoid
from .synthetic import synthetic

KINDS = {"jsonl": jsonl, "hub": hub, "synthetic": synthetic, "sinusoid": sinusoid}

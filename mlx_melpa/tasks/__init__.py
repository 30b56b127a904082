"""Tasks: where episodes come from."""

from .at_hand import at_hand
from .hub import hub
from .jsonl import jsonl
from .sinusoid import sinusoid
from .synthetic import synthetic

KINDS = {"jsonl": jsonl, "hub": hub, "synthetic": synthetic, "at_hand": at_hand, "sinusoid": sinusoid}

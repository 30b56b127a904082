"""Readouts: how a language model's states become losses and answers. `readout: prototypes` in a recipe."""

from .completion import completion
from .labels import labels
from .prototypes import prototypes

KINDS = {"prototypes": prototypes, "labels": labels, "completion": completion}

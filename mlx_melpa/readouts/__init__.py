"""Readouts: turn a model's hidden states into losses and answers. `readout: prototypes` in a recipe."""

from .completion import completion
from .labels import labels
from .linear import linear
from .prototypes import prototypes
from .ridge import ridge

KINDS = {"prototypes": prototypes, "ridge": ridge, "linear": linear, "labels": labels, "completion": completion}

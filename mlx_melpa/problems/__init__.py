"""Problems: turn episodes into the losses of each task. `problem: language` in a recipe."""

from .language import language
from .regression import regression

KINDS = {"language": language, "regression": regression}

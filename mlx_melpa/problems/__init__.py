"""Problems: what is to be learned, from episodes to per-task losses. `problem: language` in a recipe."""

from .language import language
from .regression import regression

KINDS = {"language": language, "regression": regression}

"""MLX, the first engine.

Importing it loads the machine's BLAS before `mlx.core`; other packages take `mx` and `nn` from here, to come after it.
None of MLX's functions is changed by that. `install()` does, when a base is loaded or a recipe is built, and
`uninstall()` restores them.
"""

import os

from . import blas

# MLX orders a graph by breadth up to this width, and by depth beyond, where one lane would wait for the other. It reads
# this at its first evaluation.
os.environ.setdefault("MLX_BFS_MAX_WIDTH", "1000000")
blas.load()

import mlx.core as mx  # noqa: E402  (after its BLAS)
import mlx.nn as nn  # noqa: E402

from .patches import install, uninstall  # noqa: E402

__all__ = ["install", "mx", "nn", "uninstall"]

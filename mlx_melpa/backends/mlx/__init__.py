"""MLX, the first engine. Importing it loads the machine's BLAS before `mlx.core`, and keeps freed memory at hand."""

import os

from . import blas
from . import malloc as heap

# MLX orders a graph by breadth up to this width, and by depth beyond, where one lane would wait for the other. It reads
# this at its first evaluation.
os.environ.setdefault("MLX_BFS_MAX_WIDTH", "1000000")
blas.load()
heap.keep()

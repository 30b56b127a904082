"""MLX, the first engine. Importing it loads the machine's BLAS before `mlx.core`, and keeps freed memory at hand."""

from . import blas, heap

blas.load()
heap.keep()

"""MLX, the first engine. Importing it loads the machine's BLAS before `mlx.core`."""

from . import blas

blas.load()

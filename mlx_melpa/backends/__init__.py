"""The engines: each folder offers the same names, so that a method exists once and runs on all of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # held by the type checker
    from ..core.engine import Engine
    from .mlx import ops as mlx_ops
    from .torch import ops as torch_ops

    MLX: Engine = mlx_ops
    TORCH: Engine = torch_ops

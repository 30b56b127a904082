"""PyTorch, the second engine: the same names as MLX's folder, on a CPU or a CUDA card."""

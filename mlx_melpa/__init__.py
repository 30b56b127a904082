"""mlx-melpa: learn how to adapt a frozen language model, then adapt it to one person in seconds."""

__version__ = "0.2.0"

"""Meta-training: the outer loop, checkpoints, loggers, estimates."""

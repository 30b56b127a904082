"""Baselines without meta-learning: frozen features, in-context examples, random start, multi-task."""

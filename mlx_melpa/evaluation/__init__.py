"""Evaluation on unseen tasks: curves, streams, intervals, costs, and the baselines."""

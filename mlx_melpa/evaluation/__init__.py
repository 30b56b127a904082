"""Measures on unseen tasks: curves, streams, intervals, costs, and the methods they are compared with."""

"""Processes that `melpa bench speed` times, one engine each."""

"""The embedded base: a small English language model of our own, so that the first run needs no network."""

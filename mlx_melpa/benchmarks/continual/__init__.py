"""Streams of tasks and the methods that learn them: `melpa bench continual`, `melpa bench daily`."""

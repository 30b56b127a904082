"""Seconds, memory and rates beside other packages: `melpa bench speed`."""

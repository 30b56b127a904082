"""Measurements: of speed, beside other packages and the machine's limit, and of streams. `melpa bench speed`"""

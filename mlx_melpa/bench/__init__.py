"""Measurements beside other packages, and of the machine's limit. `melpa bench speed`"""

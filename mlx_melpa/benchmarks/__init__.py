"""Benchmarks of speed, few-shot accuracy and continual learning. `melpa bench`"""

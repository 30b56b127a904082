"""Gradients held against finite differences and independent implementations."""

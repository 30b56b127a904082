"""Simulated topics, people and phrases, drawn from seeds."""

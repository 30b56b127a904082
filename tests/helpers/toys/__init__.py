"""Toy problems and plain reference gradients for the tests of learners, rules and initializers."""

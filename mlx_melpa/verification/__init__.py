"""Meta-gradients verified against finite differences and the learners' definitions."""

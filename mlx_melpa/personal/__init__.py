"""One user: adaptation, acceptance test, prediction, generation, and the choice of base, run and version."""

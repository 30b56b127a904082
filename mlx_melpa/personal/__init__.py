"""One user: adaptation, acceptance, prediction, generation, and the way to their base, run and version."""

"""The packaged recipes: one YAML file per published method."""

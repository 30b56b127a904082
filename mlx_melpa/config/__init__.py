"""From a recipe's text to its parts: parser, schema, checks, and the building."""

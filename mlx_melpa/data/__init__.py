"""From files and simulators to examples: readers, tokens, prompts."""

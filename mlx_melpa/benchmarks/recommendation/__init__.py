"""How often the recommended method is the best one: `melpa bench recommend`."""

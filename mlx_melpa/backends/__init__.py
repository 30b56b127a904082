"""The engines: each folder offers the same names, so that a method exists once and runs on all of them."""

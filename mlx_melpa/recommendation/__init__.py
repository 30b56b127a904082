"""Which run and method suit new data: features of data sets and their similarity."""

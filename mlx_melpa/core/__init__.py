"""Rows and layouts, sites, the inner loop, class means, micro-batches: the base of every part."""

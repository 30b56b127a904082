"""What every part is made of: rows and layouts, sites, the inner loop, class means, micro-batches."""

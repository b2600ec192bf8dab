"""atdata: a loose federation of distributed, typed datasets."""

"""Chunks on Dask workers: clusters, what travels, what comes back, what was lost."""

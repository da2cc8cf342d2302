"""Figures in CMS style; every function takes results and returns the figure, the caller saves."""

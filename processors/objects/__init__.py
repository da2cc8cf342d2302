"""Declarative tables of the simulated objects."""

"""Parametric detector response."""

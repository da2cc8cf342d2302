"""Parametric detector: generator truth in, reconstructed NanoAOD collections out."""

from samples.detector.assembly import simulate

__all__ = ["simulate"]

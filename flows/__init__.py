"""Normalizing flows: specifications, transforms, bundles, noise, residency, training."""

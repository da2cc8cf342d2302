"""Coffea processors: the physics that turns chunks of events into simulated columns."""

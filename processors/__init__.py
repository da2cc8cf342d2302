"""Coffea processors: the physics that turns chunks of events into simulated columns."""

from __future__ import annotations

from importlib import import_module

__all__ = ["BUILTIN", "describe"]

BUILTIN: dict[str, str] = {
    "flashsim": "processors.flashsim.processor:FlashSim",
    "extraction": "processors.flashsim.extraction:Extraction",
    "timing": "processors.timing.processor:Timing",
    "photons": "processors.timing.photons:Photons",
}
"""Name on the command line to ``module:class``; nothing is imported until it is used."""


def describe() -> dict[str, str]:
    """One line about every processor, by name; imports them."""
    lines = {}
    for name, place in BUILTIN.items():
        module, _, attribute = place.partition(":")
        lines[name] = getattr(import_module(module), attribute).summary
    return lines

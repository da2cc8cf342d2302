"""What models of photon times are given of a particle in a bar: their condition columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["CONTEXT", "EXIT", "UNITS", "conditions", "conditions_of"]

CONTEXT = ("z", "theta", "p")
"""Position along the bar, polar angle, momentum: what a model must take."""
EXIT = "exit"
"""Where the particle leaves the bar: what a model may take beside them. It follows from position,
angle and the bar, but a network would have to find the edge at the bar's end."""
UNITS = {"z": "mm", "theta": "deg", "p": "GeV", EXIT: "mm"}
"""Of all conditions."""
_GEOMETRY = ("gap_mm", "thickness_mm", "bar_low_mm", "bar_high_mm")


def conditions(
    context: np.ndarray, names: Sequence[str], definitions: Mapping[str, Any]
) -> np.ndarray:
    """Columns of a model ``(..., C)`` float64, from :data:`CONTEXT` ``(..., 3)`` as it takes them.

    Arguments:
        context: z, θ, p.
        names: The model's conditions: :data:`CONTEXT`, maybe :data:`EXIT` behind.
        definitions: Of the model: lever arm and gap, thickness and ends of the bar, in mm; needed
            for :data:`EXIT` alone.
    Raises: ValueError where the model takes the exit, but does not say of which bar.
    """
    if EXIT not in names:
        return context
    if missing := [key for key in _GEOMETRY if key not in definitions]:
        message = f"a model that takes {EXIT!r} must define {', '.join(missing)}; train it again"
        raise ValueError(message)
    return np.concatenate([context, _exit(context, definitions)[..., None]], axis=-1)


def conditions_of(card: Any, context: np.ndarray) -> np.ndarray:
    """Columns ``(..., C)`` that the model of a card takes, from :data:`CONTEXT` ``(..., 3)``."""
    return conditions(context, card.layout.condition_names, card.spec["definitions"])


def _exit(context: np.ndarray, definitions: Mapping[str, Any]) -> np.ndarray:
    """Where a straight track leaves through the back or an end of the bar, mm ``(...)``."""
    z, theta = context[..., 0], np.radians(context[..., 1])
    depth = definitions["lever_arm_mm"] - definitions["gap_mm"]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = 1.0 / np.tan(theta)
        behind = z + (definitions["thickness_mm"] - depth) * slope
    return np.clip(behind, definitions["bar_low_mm"], definitions["bar_high_mm"])

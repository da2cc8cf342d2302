"""What models of photon times are given of a particle in a bar: their condition columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flows.features import AfterLight
from flows.light import LEAST_SINE, LIGHT_SPEED

__all__ = [
    "CONTEXT",
    "EXIT",
    "FURTHER",
    "SPREAD",
    "UNITS",
    "along",
    "conditions",
    "conditions_of",
]

CONTEXT = ("z", "theta", "p")
"""Position along the bar, polar angle, momentum: what a model must take."""
EXIT, SPREAD = "exit", "spread"
FURTHER = (EXIT, SPREAD)
"""What a model may take beside them: where the particle leaves the bar; how much later light from
there arrives than light from the entrance. Both follow from the context and the bar, but a network
would have to find the edge at the bar's end, and how little of a track's light is spread in time
where the particle is hardly faster than its light."""
UNITS = {"z": "mm", "theta": "deg", "p": "GeV", EXIT: "mm", SPREAD: "ns"}
"""Of all conditions."""
_GEOMETRY = ("gap_mm", "thickness_mm", "bar_low_mm", "bar_high_mm")


def along(theta: np.ndarray, depth: float) -> np.ndarray:
    """How far along the bar a straight track comes on a way across it, mm, shape of ``theta``.

    Arguments:
        theta: Polar angle, degrees; one that is exactly along the bar is given the least sine.
        depth: Across the bar, mm.

    Example:
        >>> along(np.array([45.0, 135.0]), 5.0).round(6).tolist()
        [5.0, -5.0]
    """
    inside = np.clip(np.radians(theta), LEAST_SINE, np.pi - LEAST_SINE)
    return depth / np.tan(inside)


def conditions(
    context: np.ndarray, names: Sequence[str], definitions: Mapping[str, Any]
) -> np.ndarray:
    """Columns of a model ``(..., C)`` float64, from :data:`CONTEXT` ``(..., 3)`` as it takes them.

    Arguments:
        context: z, θ, p.
        names: The model's conditions: :data:`CONTEXT`, behind them none, one or all of
            :data:`FURTHER`.
        definitions: Of the model: lever arm and gap, thickness and ends of the bar, in mm; needed
            for :data:`FURTHER` alone.
    Raises: ValueError where the model takes one of these, but does not say of which bar.
    """
    further = [name for name in FURTHER if name in names]
    if not further:
        return context
    if missing := [key for key in _GEOMETRY if key not in definitions]:
        message = f"a model that takes {further} must define {', '.join(missing)}; train it again"
        raise ValueError(message)
    known = dict(zip(FURTHER, _further(context, definitions)))
    return np.concatenate([context, *(known[name][..., None] for name in further)], axis=-1)


def conditions_of(card: Any, context: np.ndarray) -> np.ndarray:
    """Columns ``(..., C)`` that the model of a card takes, from :data:`CONTEXT` ``(..., 3)``."""
    return conditions(context, card.layout.condition_names, card.spec["definitions"])


def _further(context: np.ndarray, definitions: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Exit of a straight track in mm, spread of its light in ns, both ``(...)``."""
    z, theta, p = context[..., 0], np.radians(context[..., 1]), context[..., 2]
    depth = definitions["lever_arm_mm"] - definitions["gap_mm"]
    low, high = definitions["bar_low_mm"], definitions["bar_high_mm"]
    cosine, sine = np.cos(theta), np.maximum(np.sin(theta), LEAST_SINE)
    with np.errstate(divide="ignore", invalid="ignore"):
        entrance = z - depth * cosine / sine
        across = definitions["thickness_mm"] / sine
        leaves = np.clip(entrance + across * cosine, low, high)
        until = np.abs((np.where(cosine > 0, high, low) - entrance) / cosine)
        slowness = np.hypot(p, AfterLight.mass) / p
    length = np.fmin(across, until)
    return leaves, length * (slowness - AfterLight.index * cosine) / LIGHT_SPEED

"""Definitions of photons: how those of a table are held against those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flows.card import Card
from processors.errors import ConfigurationError, InputError
from processors.timing.conditions import along
from processors.timing.config import GAP
from processors.timing.tables import PhotonTable

__all__ = ["LEVER_ARM", "carried", "depth", "refuse_other_bars"]

LEVER_ARM = "lever_arm_mm"
"""Definition that says which z a table or a model has."""
BARS = ("thickness_mm", "bar_low_mm", "bar_high_mm")
"""Definitions that tell bars apart."""


def depth(definitions: Mapping[str, Any]) -> float:
    """How far behind the entrance of a bar z lies, mm.

    Imported models do not say where the gun of their training stood: at :data:`GAP`.

    Example:
        >>> depth({"lever_arm_mm": 6.0}), depth({"lever_arm_mm": 20.0, "gap_mm": 20.0})
        (5.0, 0.0)
    """
    return float(definitions[LEVER_ARM] - definitions.get("gap_mm", GAP))


def carried(
    photons: PhotonTable, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> PhotonTable:
    """Photons with z carried along the muon from one depth behind the entrance to another.

    Arguments:
        photons: Rows.
        found: Definitions of the photons.
        wanted: Definitions of the model that is to have them.
    Raises: InputError where a muon runs along the bar: it has no z at another depth.
    """
    astray = photons.theta % 180.0 == 0.0
    if astray.any():
        message = (
            f"{int(astray.sum())} of {len(astray)} muons run along the bar (theta 0 or 180 "
            "degrees) and never enter it; remove their photons"
        )
        raise InputError(message)
    z = photons.z + along(photons.theta.astype(np.float64), depth(wanted) - depth(found))
    return photons._replace(z=z.astype(photons.z.dtype))


def refuse_other_bars(found: Mapping[str, Any], card: Card) -> None:
    """Refuse photons of other bars than those of a model, where it says of which it is.

    Arguments:
        found: Definitions of the photons.
        card: Of the model.
    Raises: ConfigurationError naming the first definition that differs.
    """
    trained = card.spec.get("definitions", {})
    for key in BARS:
        if key in trained and trained[key] != found[key]:
            message = (
                f"bundle {card.name!r} was made of bars with {key} {trained[key]}, the photons "
                f"are of bars with {found[key]}; take another bundle, or photons of its bars"
            )
            raise ConfigurationError(message)

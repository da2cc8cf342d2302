"""Drawn photons that are earlier than any light of their particle can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from flows.features import AfterLight
from flows.layout import ObjectLayout
from flows.warm import compiled_first
from processors.compiled import compiled

__all__ = ["COUNTER", "compile_kernels", "count_before_light"]

COUNTER = "objects.Photon.before_light"


@compiled
def count_below(times: Any, counts: Any, edges: Any) -> Any:
    """How many times lie below the edge of their row; below one that is no number, none.

    Arguments:
        times: ``(counts.sum(),)`` float32, those of a row next to each other.
        counts: Of each row, ``(n,)``.
        edges: ``(n,)`` float32.
    """
    below = place = 0
    for row in range(counts.shape[0]):
        for j in range(place, place + counts[row]):
            below += times[j] < edges[row]
        place += counts[row]
    return below


def count_before_light(
    layout: ObjectLayout, contexts: np.ndarray, counts: np.ndarray, delays: np.ndarray
) -> int | None:
    """Photons before the first light of their contexts.

    Arguments:
        layout: Of the model, whose target knows the first light or does not.
        contexts: Conditions of the model for every hit at every sensor, ``(n, C)``.
        counts: Photons of each, ``(n,)``.
        delays: After the entrance, ns, ``(counts.sum(),)`` float32.
    Returns: their number; ``None`` where the model has no first light.
    """
    transform = next(iter(layout.targets[0].transforms), None)
    if not isinstance(transform, AfterLight):
        return None
    given = {
        name: torch.from_numpy(contexts[:, i]) for i, name in enumerate(layout.condition_names)
    }
    # as the photons are: rounding keeps the order
    edges = transform.first_light(given).numpy().astype(np.float32)
    return int(count_below(delays, counts, edges))


def compile_kernels() -> None:
    """Compile the loop before threads ask for it."""
    nothing = np.zeros(0, dtype=np.float32)
    compiled_first(count_below, nothing, np.zeros(0, dtype=np.int64), nothing)

"""Photon tables of the seed: tensors whose columns have no names, in one of two orders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from processors.errors import InputError

__all__ = ["ORDERS", "load_tensor"]

ORDERS: Mapping[str, tuple[str, ...]] = {
    "2024-07": ("z", "hit_time", "theta", "p", "time"),
    "2024-08": ("z", "theta", "p", "hit_time", "time"),
}
"""Columns by the month from which the seed wrote them."""
POSSIBLE: Mapping[str, tuple[float, float]] = {
    "z": (-5000.0, 5000.0),
    "theta": (0.0, 180.0),
    "p": (1e-5, 1000.0),
    "hit_time": (0.0, 1.0),
    "time": (0.0, 1e4),
}
"""mm, degrees, GeV, ns, ns. The hit is 1 mm behind the gun: above 0.1 GeV, 0.06 ns at most."""


def load_tensor(path: str | Path, order: str) -> dict[str, np.ndarray]:
    """Columns of a tensor of the seed, float64, ``time`` counted from the hit.

    Arguments:
        path: File of ``torch.save``; read without pickle.
        order: One of :data:`ORDERS`.
    Raises: InputError where it is no such tensor, or its numbers show that the order is another.
    """
    names = ORDERS[order]
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        message = f"{path} cannot be read as a tensor ({type(error).__name__}); name a .pt file"
        raise InputError(message) from error
    if not isinstance(values, torch.Tensor) or values.ndim != 2 or values.shape[1] != len(names):
        found = tuple(getattr(values, "shape", ())) or type(values).__name__
        message = f"{path} holds {found}, not (photons, {len(names)}); name a table of photons"
        raise InputError(message)
    table = values.double().numpy()
    if not np.isfinite(table).all():
        message = f"{path} holds numbers that are not finite; remove those rows"
        raise InputError(message)
    fitting = [name for name, columns in ORDERS.items() if _fits(table, columns)]
    if order not in fitting:
        message = (
            f"{path}: columns {', '.join(names)} of order {order} cannot hold what is there; "
            f"orders that can: {', '.join(fitting) or 'none'}"
        )
        raise InputError(message)
    columns = dict(zip(names, table.T.copy(), strict=True))
    columns["time"] -= columns["hit_time"]
    return columns


def _fits(table: np.ndarray, names: tuple[str, ...]) -> bool:
    limits = [POSSIBLE[name] for name in names]
    return all(low <= c.min() and c.max() <= high for c, (low, high) in zip(table.T, limits))

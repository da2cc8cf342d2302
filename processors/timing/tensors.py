"""Photon tables of work_eic: tensors whose columns have no names, in one of two orders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flows.dense import other_than_dense
from processors.errors import InputError
from processors.identity import content_digest
from processors.jagged import Flat
from processors.timing.config import PhotonsConfig
from processors.timing.photons import definitions_of
from processors.timing.tables import PhotonTable, join, refuse_repeated

__all__ = ["ORDERS", "load_tensor", "load_tensors"]

ORDERS: Mapping[str, tuple[str, ...]] = {
    "2024-07": ("z", "hit_time", "theta", "p", "time"),
    "2024-08": ("z", "theta", "p", "hit_time", "time"),
}
"""Columns by the month from which work_eic wrote them."""
POSSIBLE: Mapping[str, tuple[float, float]] = {
    "z": (-5000.0, 5000.0),
    "theta": (0.0, 180.0),
    "p": (1e-5, 1000.0),
    "hit_time": (0.0, 1.0),
    "time": (0.0, 1e4),
}
"""mm, degrees, GeV, ns, ns. The hit is 1 mm behind the gun: above 0.1 GeV, 0.06 ns at most."""


def load_tensors(
    paths: Iterable[str | Path], order: str | None, lever_arm: float | None
) -> tuple[dict[str, Any], PhotonTable]:
    """Definitions of photons, and all tensors of work_eic as one table.

    The files say neither; the geometry is that of 2024, bars of 10 mm.

    Raises: InputError where the order or the lever arm is not told, or as :func:`load_tensor`;
        ValueError where two files are the same.
    """
    files = sorted(map(Path, paths))
    refuse_repeated(files)
    if order is None or lever_arm is None:
        message = (
            f"{files[0]} says neither the order of its columns nor which z they hold; give --order "
            f"({' or '.join(ORDERS)}) and --lever-arm (mm)"
        )
        raise InputError(message)
    config = PhotonsConfig.from_mapping({"lever_arm": lever_arm})
    tables = [load_tensor(path, order) for path in files]
    _refuse_copies(files, tables)
    return definitions_of(config), join(tables)


def _refuse_copies(files: Sequence[Path], tables: Sequence[PhotonTable]) -> None:
    """Refuse photons that are in two files; muons alone may well be, at fixed momenta.

    Raises: InputError naming both.
    """
    seen: dict[bytes, Path] = {}
    for path, table in zip(files, tables, strict=True):
        other = seen.setdefault(hashlib.sha256(table.time.tobytes()).digest(), path)
        if other != path:
            message = f"{path} holds the photons of {other}, which would count twice; name one"
            raise InputError(message)


def load_tensor(path: str | Path, order: str) -> PhotonTable:
    """Photons of a tensor of work_eic, a row per muon, ``time`` counted from the hit.

    All are at the sensor at high z. What the muons left in the bar is not in the file.

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
    if not isinstance(values, torch.Tensor):
        message = f"{path} holds {type(values).__name__}, no tensor; name a table of photons"
        raise InputError(message)
    kind = other_than_dense(values)
    if kind is not None:
        message = f"{path} holds a tensor that is {kind}; save it dense, as real numbers"
        raise InputError(message)
    if values.ndim != 2 or values.shape[1] != len(names) or not len(values):
        found = tuple(values.shape)
        message = (
            f"{path} holds {found}, not (photons, {len(names)}) with one photon at least; name a "
            "table of photons"
        )
        raise InputError(message)
    table = values.detach().double().numpy()
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
    return _by_muon(columns)


def _by_muon(photons: Mapping[str, np.ndarray]) -> PhotonTable:
    names = ("z", "theta", "p", "hit_time")
    rows, owner, counts = np.unique(
        np.stack([photons[name] for name in names], axis=1),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    owner = owner.ravel()
    order = np.argsort(owner, kind="stable")
    time = (photons["time"] - photons["hit_time"])[order]
    columns = dict(zip(names, rows.T.copy(), strict=True))
    muon = content_digest(Flat(np.ones(len(rows), dtype=np.int64), columns))
    return PhotonTable(
        **{name: values.astype(np.float32) for name, values in columns.items()},
        energy=np.full(len(rows), np.nan, dtype=np.float32),
        number=counts,
        kept=counts.copy(),
        muon=muon,
        time=time.astype(np.float32),
    )


def _fits(table: np.ndarray, names: tuple[str, ...]) -> bool:
    limits = [POSSIBLE[name] for name in names]
    return all(low <= c.min() and c.max() <= high for c, (low, high) in zip(table.T, limits))

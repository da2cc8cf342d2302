"""What every training has in common: settings, how the processor computes, what is remembered."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.bundle import Bundle
from flows.card import Range
from flows.layout import LayoutError, ObjectLayout
from flows.optimise import History

__all__ = [
    "RunSettings",
    "curves",
    "denormals_flushed",
    "fingerprint",
    "provenance",
    "ranges",
    "same_columns",
    "settings_of",
]

APART = ("checkpoints", "provenance", "name", "era", "source", "seed_system")
"""Settings that do not decide the weights."""


@dataclass(frozen=True)
class RunSettings:
    """What decides a training whatever is trained.

    Arguments:
        seed: Seed of split, noise, weights and order.
        validation: Share of the groups that decides which weights are best.
        threads: Threads of torch while training.
        device: Where the networks are trained; the bundle does not depend on it but for rounding.
        checkpoints: Folder for checkpoints; training goes on from what is there.
        name: Name of the model; the layout's object if empty.
        era: Campaign of the training data.
        source: Where the training data come from.
        seed_system: Project whose method this follows.
        provenance: Further entries of the card's provenance (fileset hash, code version).
    """

    seed: int = 1
    validation: float = 0.05
    threads: int = 1
    device: str = "cpu"
    checkpoints: Path | None = None
    name: str = ""
    era: str = "unspecified"
    source: str = "unspecified"
    seed_system: str = "none"
    provenance: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Denormals, which slow saturated gates down, are zero in this thread; afterwards as before."""
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def same_columns(layout: ObjectLayout, start: Bundle) -> ObjectLayout:
    """Layout of a bundle that training starts from.

    Raises: LayoutError if its columns are not those of the table.
    """
    have = start.card.layout
    for what in ("condition_names", "category_names", "target_names", "discrete", "pileup"):
        if getattr(layout, what) != getattr(have, what):
            msg = (
                f"bundle {start.card.name!r} has other {what.replace('_', ' ')} than the table: "
                f"{getattr(have, what)}, needed {getattr(layout, what)}; start from another bundle"
            )
            raise LayoutError(msg)
    return have


def ranges(
    layout: ObjectLayout, conditions: NDArray[Any], start: Bundle | None
) -> dict[str, Range]:
    """Smallest and largest condition of each column of ``(n, C)``, those of the start included."""
    found = {}
    for column, values in zip(layout.conditions, conditions.T):
        low, high = float(values.min()), float(values.max())
        old = None if start is None else start.card.ranges.get(column.name)
        if old is not None:
            low, high = min(low, old.low), max(high, old.high)
        found[column.name] = Range(low, high)
    return found


def curves(history: History) -> dict[str, Any]:
    """What the card says of one network's training."""
    start = {"start_loss": history.start} if math.isfinite(history.start) else {}
    return start | {
        "best_loss": history.best,
        "best_epoch": history.best_epoch,
        "train_loss": history.train,
        "validation_loss": history.validation,
        "skipped_steps": history.skipped_steps,
    }


def provenance(settings: RunSettings, start: Bundle | None) -> dict[str, Any]:
    """Settings, version of torch, digest of the bundle that training started from."""
    return {
        "settings": _plain(settings),
        "torch": torch.__version__.split("+")[0],
        "start_from": None if start is None else start.digest,
    }


def settings_of(network: str, networks: Collection[str], settings: RunSettings) -> str:
    """Digest of everything that decides one network's training; other networks' recipes do not.

    Nor does the device: what was begun on one goes on on another.
    """
    values = _plain(settings)
    values.pop("device")
    kept = {k: v for k, v in values.items() if k == network or k not in networks}
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def fingerprint(layout: ObjectLayout, *tensors: Tensor) -> str:
    """Digest of columns and of a part of the training data."""
    digest = hashlib.sha256(repr(layout.to_dict()).encode())
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        step = max(1, len(tensor) // 997)
        digest.update(np.ascontiguousarray(tensor[::step].numpy()).tobytes())
    return digest.hexdigest()


def _plain(settings: RunSettings) -> dict[str, Any]:
    values = dataclasses.asdict(settings)
    return {name: value for name, value in values.items() if name not in APART}

"""Models that stay in memory: one per process, device and digest, shared by all threads."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flows.batching import ComputePool, Stage, StageStats, default_threads
from flows.bundle import Bundle, BundleError
from flows.card import Card
from flows.memory import keep_freed
from flows.noise import compile_kernels
from flows.work import Work

__all__ = ["KINDS", "MICRO_BATCH", "ResidentModel", "forget", "resident"]

KINDS: dict[str, str] = {
    "flow": "flows.flowsampler:FlowSampler",
    "object": "flows.simulator:ObjectSimulator",
}
"""Kind of model to ``module:class`` of its resident form."""
MICRO_BATCH = {"cpu": 1024, "cuda": 16384}
"""Rows of a micro-batch: on the processor more gain nothing (measured), on CUDA chosen."""


class ResidentModel:
    """What every resident model offers, whatever its kind.

    Subclasses declare their stages with :meth:`stage` and their own calls. Pickling gives the path
    and the digest; unpickling looks the model up in the process it arrives in.

    Arguments:
        bundle: The model.
        path: Where it came from, or ``None`` for a model that lives in memory alone.
        device: Device it computes on.
        pool: Threads that compute.
    """

    def __init__(self, bundle: Bundle, path: Path | None, device: str, pool: ComputePool) -> None:
        self.card: Card = bundle.card
        self.digest: str = bundle.digest
        self.device = device
        self._path = path
        self._pool = pool
        self._stages: dict[str, Stage] = {}
        self._unclaimed = 1

    def stage(self, name: str, function: Callable[..., tuple[torch.Tensor, ...]]) -> Stage:
        """Declare a row-wise function that the pool runs in micro-batches."""
        rows = MICRO_BATCH[torch.device(self.device).type]
        self._stages[name] = Stage(self._pool, function, rows, self.device)
        return self._stages[name]

    def run(self, name: str, work: dict[str, Work], *arrays: NDArray[Any]) -> tuple[Any, ...]:
        """Run a stage over all rows; what it cost is added to ``work`` under the stage's name."""
        outputs, done = self._stages[name].counted(*arrays)
        work[name] = work.get(name, Work()) + done
        return outputs

    def claim_load(self) -> int:
        """1 to the first who asks in this process, 0 to others: the sum counts the loads."""
        with _lock:
            claimed, self._unclaimed = self._unclaimed, 0
        return claimed

    def reference(self, conditions: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Samples ``(n, ...)`` at ``conditions`` ``(n, C)`` from noise that is always the same."""
        msg = f"{type(self).__name__} gives no reference samples"
        raise NotImplementedError(msg)

    @property
    def micro_batch(self) -> int:
        """Rows of a micro-batch now: smaller than at the start if memory ran out."""
        return min((stage.rows for stage in self._stages.values()), default=0)

    def stats(self) -> dict[str, Any]:
        """Device, threads and work done so far, by stage."""
        return {
            "digest": self.digest,
            "device": self.device,
            "threads": self._pool.threads,
            "micro_batch": self.micro_batch,
            "stages": {name: _told(stage.stats) for name, stage in self._stages.items()},
        }

    def found_at(self, path: Path) -> None:
        """Note where the bundle was seen last: there it is looked for after a journey."""
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            msg = f"model {self.card.name!r} was never saved, so it cannot travel; save its bundle"
            raise BundleError(msg)
        return resident, (str(self._path), self.device, self.digest)


_lock = threading.RLock()
_models: dict[tuple[str, str], ResidentModel] = {}
_paths: dict[tuple[Any, ...], str] = {}
_pools: dict[str, ComputePool] = {}


def resident(
    bundle: str | os.PathLike[str] | Bundle, device: str = "auto", digest: str | None = None
) -> Any:
    """Return the process's one model of a bundle, loading it on first use.

    Arguments:
        bundle: Path of a folder or zip, or a bundle in memory.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: CUDA if there is one.
        digest: Expected digest, to pin one bundle.
    Returns: the resident form of the bundle's kind, such as
        :class:`flows.simulator.ObjectSimulator`.
    Raises: BundleError if it cannot be read, verified or run; ValueError for an unknown device.
    """
    place = _device(device)
    with _lock:
        path = None if isinstance(bundle, Bundle) else Path(bundle).absolute()
        stamp = None if path is None else _stamp(path)
        known = _paths.get(stamp) if stamp is not None else None
        if known is not None and (known, place) in _models and digest in (None, known):
            return _seen(_models[known, place], path)
        loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle, digest)
        found = loaded.digest
        if digest is not None and digest != found:
            msg = f"bundle in memory: expected digest {digest}, found {found}"
            raise BundleError(msg)
        if stamp is not None:
            _paths[stamp] = found
        if (found, place) not in _models:
            _models[found, place] = _build(loaded, path, place)
        return _seen(_models[found, place], path)


def _told(stats: StageStats) -> dict[str, Any]:
    rest = stats._asdict()
    return asdict(rest.pop("work")) | rest


def _seen(model: ResidentModel, path: Path | None) -> ResidentModel:
    if path is not None:
        model.found_at(path)
    return model


def forget() -> None:
    """Drop every resident model and pool, as a forked child must: threads do not survive a fork."""
    global _lock
    _lock = threading.RLock()
    _models.clear()
    _paths.clear()
    _pools.clear()


os.register_at_fork(after_in_child=forget)


def _build(bundle: Bundle, path: Path | None, device: str) -> ResidentModel:
    kind = bundle.card.kind
    if kind not in KINDS:
        msg = f"bundle {path}: unknown kind of model {kind!r}; this version runs {sorted(KINDS)}"
        raise BundleError(msg)
    module, _, name = KINDS[kind].partition(":")
    factory: type[ResidentModel] = getattr(importlib.import_module(module), name)
    keep_freed()
    compile_kernels()
    if device not in _pools:
        _pools[device] = ComputePool(default_threads() if device == "cpu" else 1)
    return factory(bundle, path, device, _pools[device])


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        msg = f"device {name!r} is unknown; use auto, cpu or cuda"
        raise ValueError(msg) from error
    if kind not in MICRO_BATCH or (kind == "cuda" and not torch.cuda.is_available()):
        msg = f"device {name!r} is not available here; use auto or cpu"
        raise ValueError(msg)
    return name


def _stamp(path: Path) -> tuple[Any, ...]:
    """Identify the files of a bundle without reading them."""
    files = [path, *sorted(path.glob("*"))] if path.is_dir() else [path]
    try:
        stats = [(str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files]
    except OSError as error:
        msg = f"bundle {path}: cannot be looked at ({error.strerror}); give the path of a bundle"
        raise BundleError(msg) from error
    return tuple(stats)

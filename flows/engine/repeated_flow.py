"""The way to draw many samples per context from a flow of one feature: tensors in, tensors out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.engine.context_only import (
    MOST_SAMPLES,
    ContextFlow,
    invert_on_device,
    need_one_feature,
    repeated_normals,
)
from flows.engine.device_flow import device_flow
from flows.engine.plan import Plan
from flows.engine.torch_flow import TorchFlow
from flows.noise import Identity
from flows.work import Work

__all__ = ["RepeatedFlow", "RepeatedStats", "pieces"]

CONTEXT_COST = 300
"""Cost of a context's networks in samples: 10 blocks of 128 units against one spline (measured)."""
PIECES = 64
"""Pieces of a large call: enough to keep threads evenly busy; chosen."""
PIECE = 40_000, 400_000
"""Least and largest cost of a piece in samples: one to two milliseconds, ten to twenty. Networks of
64 contexts a piece cost a fifth more than of 512, for the calls alone (measured)."""
TYPES: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}

Array = NDArray[Any]
Offsets = NDArray[np.int64]


class RepeatedStats(NamedTuple):
    """What was done so far.

    Attributes:
        nonfinite_context: Contexts that were not finite; all their samples are NaN.
        work: Its rows are contexts, its batches the pieces that a call is cut into.
    """

    nonfinite_context: int
    work: Work


class RepeatedFlow:
    """A flow of one feature whose networks run once per context.

    On the processor it runs compiled, on the given threads; elsewhere in plain torch. The same
    bits come out for any number of threads and any split into calls. Calls from several threads
    are safe.

    Arguments:
        plan: What to compute.
        threads: Gives the threads of the compiled part.
    Shapes: context ``(n, C)``, counts int64 ``(n,)``, samples ``(sum of counts,)``, those of a
        context next to each other; float32 or float64.
    Raises: ValueError unless the plan has one feature.

    Example:
        >>> from flows.engine.compile_nflows import compile_transform
        >>> from flows.engine.testing import random_transform
        >>> plan = compile_transform(random_transform("spline", 1, 2, steps=1), 1, 2)
        >>> with ThreadPoolExecutor(1) as pool:
        ...     flow = RepeatedFlow(plan, lambda: pool)
        ...     x = flow.inverse(torch.randn(5), torch.randn(2, 2), torch.tensor([2, 3]))
        >>> x.shape, flow.stats.work.rows
        (torch.Size([5]), 2)
    """

    def __init__(self, plan: Plan, threads: Callable[[], ThreadPoolExecutor]) -> None:
        need_one_feature(plan)
        self.plan = plan
        self._threads = threads
        self._lock = threading.Lock()
        self._compiled: dict[torch.dtype, ContextFlow] = {}
        self._plain: dict[tuple[torch.dtype, torch.device], TorchFlow] = {}
        self._stats = RepeatedStats(0, Work())

    @property
    def stats(self) -> RepeatedStats:
        """What was done so far."""
        return self._stats

    def inverse(self, z: Tensor, context: Tensor, counts: Tensor) -> Tensor:
        """Map noise ``(sum of counts,)`` to data.

        Raises: ValueError for shapes or types that do not fit.
        """
        started = time.perf_counter()
        total = self._checked(context, counts)
        if z.shape != (total,) or z.dtype != context.dtype or z.device != context.device:
            msg = (
                f"noise of shape {tuple(z.shape)}, {z.dtype} on {z.device}: expected {(total,)}, "
                f"{context.dtype} on {context.device}, the sum of the counts"
            )
            raise ValueError(msg)
        if context.device.type != "cpu":
            x = invert_on_device(self._torch(context), z, context, counts.to(z.device))
            done = _alone(context, x, started)
        else:
            flow, noise = self._cpu(context.dtype), z.detach().numpy()
            given = context.detach().numpy()

            def invert(rows: slice, offsets: Offsets) -> Array:
                return flow.invert(noise[offsets[0] : offsets[-1]], given[rows], offsets)

            x, done = self._in_pieces(counts, invert, flow)
        return self._finished(x, context, counts, done)

    def sample(
        self, context: Tensor, counts: Tensor, identity: Identity, purpose: str = "flow"
    ) -> Tensor:
        """What :meth:`counted` returns, without the work."""
        return self.counted(context, counts, identity, purpose)[0]

    def counted(
        self, context: Tensor, counts: Tensor, identity: Identity, purpose: str = "flow"
    ) -> tuple[Tensor, Work]:
        """Draw samples; on the processor noise is made inside the compiled loop.

        Noise is that of :func:`flows.noise.normals`: sample s takes dimension s of its row.

        Arguments:
            counts: Each at most :data:`flows.engine.context_only.MOST_SAMPLES`.
            identity: Whose noise to use ``(n,)``.
            purpose: What the noise is for.
        Returns: samples, and what they cost.
        Raises: ValueError for shapes or types that do not fit.
        """
        started = time.perf_counter()
        self._checked(context, counts)
        most = int(counts.max()) if len(counts) else 0
        if len(identity) != len(context) or most > MOST_SAMPLES:
            msg = (
                f"{len(identity)} identities and counts up to {most} for "
                f"{len(context)} contexts: give one identity each, at most {MOST_SAMPLES} samples"
            )
            raise ValueError(msg)
        keys, counters = identity.keys(purpose), identity.counters()
        if context.device.type != "cpu":
            place = context.device
            tensors = (torch.from_numpy(keys).to(place), torch.from_numpy(counters).to(place))
            normal = repeated_normals(*tensors, counts.to(place)).to(context.dtype)
            noise = normal * float(self.plan.base.scale[0]) + float(self.plan.base.loc[0])
            x = invert_on_device(self._torch(context), noise, context, counts.to(place))
            done = _alone(context, x, started)
        else:
            flow, given = self._cpu(context.dtype), context.detach().numpy()

            def draw(rows: slice, offsets: Offsets) -> Array:
                return flow.draw(given[rows], offsets, keys[rows], counters[rows])

            x, done = self._in_pieces(counts, draw, flow)
        return self._finished(x, context, counts, done), done

    def _in_pieces(
        self, counts: Tensor, work: Callable[[slice, Offsets], Array], flow: ContextFlow
    ) -> tuple[Tensor, Work]:
        """Cut the contexts into pieces of equal cost and run them on the threads."""
        offsets = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(counts.numpy(), out=offsets[1:])
        out = np.empty(int(offsets[-1]), flow.dtype)

        def run(start: int, stop: int) -> Work:
            began = time.perf_counter()
            piece = offsets[start : stop + 1]
            out[piece[0] : piece[-1]] = work(slice(start, stop), piece)
            padded = -(stop - start) % flow.rows
            spent = time.perf_counter() - began
            return Work(0, 1, stop - start, padded, int(piece[-1] - piece[0]), spent)

        cuts = pieces(offsets, flow.rows).tolist()
        pending = [self._threads().submit(run, *pair) for pair in pairwise(cuts)]
        done = sum((piece.result() for piece in pending), Work(calls=1))
        return torch.from_numpy(out), done

    def _checked(self, context: Tensor, counts: Tensor) -> int:
        """Check shapes and types; return the number of samples."""
        if context.shape != (len(context), self.plan.context) or context.dtype not in TYPES:
            msg = (
                f"context of shape {tuple(context.shape)} and type {context.dtype}: expected "
                f"{(len(context), self.plan.context)} of float32 or float64"
            )
            raise ValueError(msg)
        if counts.shape != (len(context),) or counts.dtype != torch.int64:
            msg = (
                f"counts of shape {tuple(counts.shape)} and type {counts.dtype}: expected "
                f"{(len(context),)} of int64, one per context"
            )
            raise ValueError(msg)
        if len(counts) and int(counts.min()) < 0:
            msg = f"count {int(counts.min())} of a context; ask for 0 or more samples"
            raise ValueError(msg)
        return int(counts.sum())

    def _finished(self, x: Tensor, context: Tensor, counts: Tensor, done: Work) -> Tensor:
        """Put NaN where the context is not finite, count."""
        bad = ~torch.isfinite(context).all(1)
        if bad.any():
            x[torch.repeat_interleave(bad, counts.to(bad.device))] = torch.nan
        with self._lock:
            old = self._stats
            self._stats = RepeatedStats(old.nonfinite_context + int(bad.sum()), old.work + done)
        return x

    def _cpu(self, dtype: torch.dtype) -> ContextFlow:
        with self._lock:
            if dtype not in self._compiled:
                self._compiled[dtype] = ContextFlow(self.plan, TYPES[dtype])
            return self._compiled[dtype]

    def _torch(self, like: Tensor) -> TorchFlow:
        key = like.dtype, like.device
        with self._lock:
            if key not in self._plain:
                self._plain[key] = device_flow(self.plan, *key)
            return self._plain[key]


def pieces(offsets: Offsets, rows: int) -> NDArray[np.int64]:
    """Edges of the pieces of a call in contexts, from 0 on.

    Pieces cost about the same. They end where tiles of contexts end, so that networks compute no
    padded contexts, unless contexts have so many samples that a tile costs more than two pieces.

    Arguments:
        offsets: ``(n + 1,)``: the samples of context i end at ``offsets[i + 1]``.
        rows: Contexts of a tile.
    Example:
        >>> pieces(np.arange(0, 1001), 64)
        array([   0,  128,  256,  384,  512,  640,  768,  960, 1000])
    """
    count = len(offsets) - 1
    cost = offsets[1:] + CONTEXT_COST * np.arange(1, count + 1)
    total = int(cost[-1]) if count else 0
    piece = min(max(total // PIECES, PIECE[0]), PIECE[1])
    edges = np.searchsorted(cost, np.arange(piece, total, piece))
    if total * rows <= 2 * piece * count:
        edges = (edges + rows // 2) // rows * rows
    return np.unique(np.concatenate([[0], np.minimum(edges, count), [count]]))


def _alone(context: Tensor, x: Tensor, started: float) -> Work:
    """Work of a call that a device did at once."""
    return Work(1, 1, len(context), 0, len(x), time.perf_counter() - started)

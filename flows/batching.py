"""Micro-batches of one fixed shape, filled from the calls of many threads.

Results must not depend on how rows are split over calls. Matrix products and vectorised functions
keep rows independent only while the shape stays the same, so every pass has the same number of
rows, a multiple of 64, padded if need be. Only running out of memory changes it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.work import Work

__all__ = ["ComputePool", "Stage", "StageStats", "default_threads"]

ROW_QUANTUM = 64
"""Rows of a micro-batch are a multiple of this."""
THREADS_VARIABLE = "FLASHBREW_THREADS"

Array = NDArray[Any]
RowFunction = Callable[..., tuple[Tensor, ...]]
"""Tensors with one leading axis of rows in, tensors with the same leading axis out."""

_log = logging.getLogger(__name__)


def default_threads() -> int:
    """Compute threads of a process: ``$FLASHBREW_THREADS``, else the cores it may use.

    Raises: ValueError if the variable is not a positive integer.
    """
    text = os.environ.get(THREADS_VARIABLE)
    if text is None:
        return max(1, len(os.sched_getaffinity(0)))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        msg = f"environment variable {THREADS_VARIABLE} is {text!r}, expected a positive integer"
        raise ValueError(msg)
    return int(text)


class StageStats(NamedTuple):
    """What a stage has done so far: rows of a micro-batch now, times it was halved, work."""

    micro_batch: int
    halvings: int
    work: Work


class _Call:
    """Rows of one caller; its results fill up as micro-batches finish."""

    def __init__(self, arrays: tuple[Array, ...]) -> None:
        self.arrays = arrays
        self.rows = len(arrays[0])
        self.taken = 0
        self.missing = self.rows
        self.outputs: tuple[Array, ...] | None = None
        self.work = Work(calls=1)
        self.error: BaseException | None = None
        self.done = threading.Event()

    def store(self, start: int, stop: int, results: list[Array]) -> None:
        if self.outputs is None:
            self.outputs = tuple(np.empty((self.rows, *r.shape[1:]), r.dtype) for r in results)
        for output, result in zip(self.outputs, results):
            output[start:stop] = result
        self.missing -= stop - start
        if self.missing == 0:
            self.done.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.taken = self.rows
        self.done.set()


class _Piece(NamedTuple):
    call: _Call
    start: int
    stop: int


class Stage:
    """One row-wise function run in micro-batches by a pool.

    Arguments:
        pool: Threads that run it.
        function: Tensors in, tuple of tensors out, rows first, every row alone.
        rows: Rows of a micro-batch, a multiple of 64.
        device: Where the function computes.
    """

    def __init__(
        self, pool: ComputePool, function: RowFunction, rows: int, device: str = "cpu"
    ) -> None:
        if rows < ROW_QUANTUM or rows % ROW_QUANTUM:
            msg = f"a micro-batch has a positive multiple of {ROW_QUANTUM} rows, not {rows}"
            raise ValueError(msg)
        self.function, self.rows, self.device = function, rows, device
        self.waiting: deque[_Call] = deque()
        self._pool = pool
        self._halvings = 0
        self._work = Work()
        self._columns: tuple[Any, ...] | None = None
        self._admission = threading.Lock()

    def apply(self, *arrays: Array) -> tuple[Array, ...]:
        """What :meth:`counted` returns, without the work."""
        return self.counted(*arrays)[0]

    def counted(self, *arrays: Array) -> tuple[tuple[Array, ...], Work]:
        """Run the function over all rows; blocks until they are done.

        Arguments:
            arrays: Each ``(n, ...)``, n at least 1; but for n as in the stage's first call, since
                rows of several calls share a micro-batch.
        Returns: arrays ``(n, ...)``, and this call's share of the work.
        Raises: ValueError for other arrays; whatever the function raised.
        """
        self._admit(arrays)
        call = _Call(arrays)
        self._pool.submit(self, call)
        call.done.wait()
        if call.error is not None:
            if not self._work.batches:
                self._columns = None  # what failed is no example
            raise call.error
        if call.outputs is None:
            msg = "a stage was asked for zero rows"
            raise ValueError(msg)
        return call.outputs, call.work

    def _admit(self, arrays: tuple[Array, ...]) -> None:
        """Refuse, in the caller's thread alone, what would shift or spoil the rows of others."""
        shapes = [array.shape for array in arrays]
        if not shapes or any(shape[:1] != (len(arrays[0]),) for shape in shapes):
            msg = f"arrays of shapes {shapes} have no common number of rows; give equally many each"
            raise ValueError(msg)
        columns = tuple((array.shape[1:], array.dtype.str) for array in arrays)
        with self._admission:
            if self._columns is None and len(arrays[0]):
                self._columns = columns
            first = self._columns
        if first is not None and columns != first:
            msg = f"rows of shapes and types {columns}: the stage began with {first}; give the same"
            raise ValueError(msg)

    @property
    def stats(self) -> StageStats:
        """What was done so far."""
        return StageStats(self.rows, self._halvings, self._work)

    def admitted(self) -> None:
        """Count a call; the pool's lock must be held."""
        self._work += Work(calls=1)

    def pending(self) -> int:
        """Rows that wait; the pool's lock must be held."""
        return sum(call.rows - call.taken for call in self.waiting)

    def take(self) -> list[_Piece]:
        """Claim up to one micro-batch of waiting rows; the pool's lock must be held."""
        pieces, room = [], self.rows
        while room and self.waiting:
            call = self.waiting[0]
            stop = min(call.rows, call.taken + room)
            if stop > call.taken:
                pieces.append(_Piece(call, call.taken, stop))
                room -= stop - call.taken
                call.taken = stop
            if call.taken == call.rows:
                self.waiting.popleft()
        return pieces

    def run(self, pieces: list[_Piece], lock: threading.Lock) -> None:
        """Compute claimed rows, in halves if memory runs out."""
        rows = self.rows
        filled = sum(p.stop - p.start for p in pieces)
        if filled > rows:
            for part in _split(pieces, rows):
                self.run(part, lock)
            return
        try:
            started = time.perf_counter()
            results = self._compute(pieces, rows)
        except Exception as error:
            if not _out_of_memory(error) or rows == ROW_QUANTUM:
                with lock:
                    for piece in pieces:
                        piece.call.fail(error)
                return
            self._halve(rows, lock)
            self.run(pieces, lock)
            return
        spent = time.perf_counter() - started
        with lock:
            done = Work(0, 1, filled, rows - filled, filled, spent)
            self._work += done
            pieces[0].call.work += done
            at = 0
            for piece in pieces:
                size = piece.stop - piece.start
                if piece.call.error is None:
                    piece.call.store(piece.start, piece.stop, [r[at : at + size] for r in results])
                at += size

    def _compute(self, pieces: list[_Piece], rows: int) -> list[Array]:
        inputs = []
        for position in range(len(pieces[0].call.arrays)):
            parts = [p.call.arrays[position][p.start : p.stop] for p in pieces]
            filled = sum(map(len, parts))
            if filled < rows:
                parts.append(np.repeat(parts[0][:1], rows - filled, axis=0))
            whole = len(parts) == 1 and parts[0].flags.carray
            joined = parts[0] if whole else np.concatenate(parts)
            inputs.append(torch.from_numpy(joined).to(self.device))
        return [result.cpu().numpy() for result in self.function(*inputs)]

    def _halve(self, rows: int, lock: threading.Lock) -> None:
        with lock:
            if self.rows == rows:
                half = rows // 2
                self.rows = max(ROW_QUANTUM, half - half % ROW_QUANTUM)
                self._halvings += 1
                _log.warning("out of memory with %d rows, going on with %d", rows, self.rows)


def _split(pieces: list[_Piece], rows: int) -> list[list[_Piece]]:
    parts: list[list[_Piece]] = [[]]
    room = rows
    for call, start, stop in pieces:
        at = start
        while at < stop:
            if room == 0:
                parts.append([])
                room = rows
            end = min(stop, at + room)
            parts[-1].append(_Piece(call, at, end))
            room -= end - at
            at = end
    return parts


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


class ComputePool:
    """Threads that compute micro-batches: one torch thread each, denormals flushed.

    Arguments:
        threads: How many; they start with the first call and end with the process.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            msg = f"a compute pool needs at least one thread, not {threads}"
            raise ValueError(msg)
        self.threads = threads
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._stages: deque[Stage] = deque()
        self._workers: list[threading.Thread] = []
        self._closing = False
        self._process = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, stage: Stage, call: _Call) -> None:
        """Queue the rows of a call."""
        if call.rows == 0:
            call.done.set()
            return
        with self._lock:
            if self._closing:
                msg = "the compute pool was closed; ask for the resident model again"
                raise RuntimeError(msg)
            if not self._workers:
                self._start()
            stage.admitted()
            if not stage.waiting and stage not in self._stages:
                self._stages.append(stage)
            stage.waiting.append(call)
            self._work.notify(max(1, min(self.threads, call.rows // stage.rows)))

    def close(self) -> None:
        """End the threads once their micro-batches are done; waiting rows are not computed.

        A forked child has no threads to end, and a lock that may never open.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closing = True
            self._work.notify_all()
        for worker in self._workers:
            worker.join()

    def _start(self) -> None:
        for number in range(self.threads):
            name = f"flashbrew-compute-{number}"
            worker = threading.Thread(target=self._loop, name=name, daemon=True)
            worker.start()
            self._workers.append(worker)
        self._process = os.getpid()
        atexit.register(self.close)

    def _loop(self) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        while True:
            with self._lock:
                while not self._stages and not self._closing:
                    self._work.wait()
                if self._closing:
                    return
                stage = self._pick()
                pieces = stage.take()
                if not stage.waiting:
                    self._stages.remove(stage)
            if pieces:
                stage.run(pieces, self._lock)

    def _pick(self) -> Stage:
        """Prefer a stage that fills a micro-batch, else the one that came first."""
        full = (stage for stage in self._stages if stage.pending() >= stage.rows)
        return next(full, self._stages[0])

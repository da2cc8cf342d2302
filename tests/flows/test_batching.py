"""Micro-batches: one shape, filled from many calls, halved when memory runs out."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch

from flows.batching import ROW_QUANTUM, ComputePool, Stage, default_threads
from flows.work import Work


@pytest.fixture(params=[1, 3])
def pool(request):
    with ComputePool(request.param) as made:
        yield made


class Recorder:
    """Doubles its rows, remembers the shapes it saw, may run out of memory or fail."""

    def __init__(self, limit: int | None = None, error: Exception | None = None) -> None:
        self.shapes: list[int] = []
        self.limit, self.error = limit, error

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.shapes.append(len(x))
        if self.limit is not None and len(x) > self.limit:
            raise self.error or torch.OutOfMemoryError("out of memory")
        return 2 * x, x.sum(1)


def rows(n: int) -> np.ndarray:
    return np.arange(n * 3, dtype=np.float32).reshape(n, 3)


@pytest.mark.parametrize("n", [1, 64, 127, 128, 1000])
def test_every_row_comes_back_in_its_place(pool, n):
    record = Recorder()
    doubled, total = Stage(pool, record, 128).apply(rows(n))
    assert np.array_equal(doubled, 2 * rows(n))
    assert np.array_equal(total, rows(n).sum(1))
    assert set(record.shapes) == {128}
    assert len(record.shapes) == -(-n // 128)


def test_calls_of_many_threads_share_micro_batches():
    gate, record = threading.Event(), Recorder()

    def slow(x):
        gate.wait(10)
        return record(x)

    with ComputePool(1) as pool:
        stage = Stage(pool, slow, 128)
        results: dict[int, np.ndarray] = {}
        works: dict[int, Work] = {}

        def call(number):
            (results[number], _), works[number] = stage.counted(rows(10) + number)

        threads = [threading.Thread(target=call, args=(i,)) for i in range(40)]
        for thread in threads:
            thread.start()
        while stage.pending() < 400 - 128:
            time.sleep(0.001)
        gate.set()
        for thread in threads:
            thread.join()
        assert all(np.array_equal(results[i], 2 * (rows(10) + i)) for i in range(40))
        assert stage.stats.work.batches <= 1 + -(-400 // 128) < 40
        total = sum(works.values(), Work())
        assert total == dataclasses.replace(stage.stats.work, seconds=total.seconds)
        assert total.seconds == pytest.approx(stage.stats.work.seconds)
        assert (total.calls, total.rows, total.samples) == (40, 400, 400)
        assert total.rows + total.padded == 128 * total.batches


def test_out_of_memory_halves_until_it_fits_and_loses_nothing(pool):
    for error in (None, MemoryError(), RuntimeError("CUDA error: out of memory")):
        record = Recorder(limit=150, error=error)
        stage = Stage(pool, record, 1024)
        doubled, _ = stage.apply(rows(2500))
        assert np.array_equal(doubled, 2 * rows(2500))
        assert stage.rows == 128
        assert stage.stats.halvings == 3
        assert stage.stats.work.rows == 2500


def test_memory_that_never_suffices_is_an_error(pool):
    stage = Stage(pool, Recorder(limit=0), 256)
    with pytest.raises(torch.OutOfMemoryError):
        stage.apply(rows(700))
    assert stage.rows == ROW_QUANTUM


def test_an_error_reaches_its_caller_and_the_pool_lives_on(pool):
    stage = Stage(pool, Recorder(limit=0, error=ValueError("broken weights")), 64)
    with pytest.raises(ValueError, match="broken weights"):
        stage.apply(rows(1000))
    assert np.array_equal(Stage(pool, Recorder(), 64).apply(rows(5))[0], 2 * rows(5))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ((rows(10), rows(7)), "no common number of rows"),
        ((rows(10), rows(13)), "no common number of rows"),
        ((rows(10), rows(10)[:, :2]), "the stage began with"),
        ((rows(10), rows(10).astype(np.float64)), "the stage began with"),
        ((rows(10),), "the stage began with"),
    ],
)
def test_arrays_that_do_not_fit_fail_alone(others, message):
    gate, entered = threading.Event(), threading.Event()

    def slow(x, y):
        entered.set()
        gate.wait(10)
        return (x + y,)

    with ComputePool(1) as pool:
        stage, results = Stage(pool, slow, 128), {}

        def call(number):
            results[number] = stage.apply(rows(10) + number, rows(10))[0]

        threads = [threading.Thread(target=call, args=(i,)) for i in range(3)]
        threads[0].start()
        assert entered.wait(10)
        try:
            with pytest.raises(ValueError, match=message):
                stage.apply(*others)
            for thread in threads[1:]:
                thread.start()
        finally:
            gate.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        assert all(np.array_equal(results[i], 2 * rows(10) + i) for i in range(3))


def test_a_first_call_that_failed_sets_no_example(pool):
    stage = Stage(pool, lambda x: (x[:, 2],), 64)
    with pytest.raises(IndexError):
        stage.apply(rows(5)[:, :2])
    assert np.array_equal(stage.apply(rows(5))[0], rows(5)[:, 2])


def test_threads_flush_denormals_and_use_one_core(pool):
    seen = []

    def look(x):
        seen.append((torch.get_num_threads(), float(torch.tensor(1e-40) * 1.0)))
        return (x,)

    Stage(pool, look, 64).apply(rows(1000))
    assert set(seen) == {(1, 0.0)}


def test_shapes_and_numbers_that_cannot_work_are_refused(pool):
    for wrong in (0, 63, 100):
        with pytest.raises(ValueError, match="64"):
            Stage(pool, Recorder(), wrong)
    with pytest.raises(ValueError, match="zero rows"):
        Stage(pool, Recorder(), 64).apply(rows(0))
    with pytest.raises(ValueError, match="at least one thread"):
        ComputePool(0)


def test_number_of_threads_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("FLASHBREW_THREADS", "3")
    assert default_threads() == 3
    for wrong in ("0", "two", "-1", ""):
        monkeypatch.setenv("FLASHBREW_THREADS", wrong)
        with pytest.raises(ValueError, match="FLASHBREW_THREADS"):
            default_threads()
    monkeypatch.delenv("FLASHBREW_THREADS")
    assert default_threads() >= 1


def test_a_closed_pool_says_so():
    pool = ComputePool(1)
    stage = Stage(pool, Recorder(), 64)
    stage.apply(rows(1))
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        stage.apply(rows(1))

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from flows.noise import Identity
from flows.work import Work
from processors.counters import Counters
from processors.flashsim.conditions import Source
from processors.flashsim.object_simulation import _falling, simulate
from processors.identity import EventIds
from processors.objects.registry import TABLES

TABLE = TABLES["jet"]
PT = [c.name for c in TABLE.sampled].index("pt")


class Out(NamedTuple):
    kept: np.ndarray
    targets: np.ndarray
    categories: np.ndarray
    counters: dict[str, int]
    work: dict[str, Work]


class Scripted:
    """A model that keeps what it is told and gives pt in the order of the rows."""

    micro_batch = 4
    digest = "d1"

    def __init__(self, kept: list[bool], pt: list[float]) -> None:
        self.kept, self.pt = np.array(kept, bool), np.array(pt, np.float32)
        self.seen: Identity | None = None

    def simulate(self, conditions: np.ndarray, identity: Identity) -> Any:
        self.seen = identity
        targets = np.full((self.kept.sum(), len(TABLE.sampled)), 0.1, np.float32)
        targets[:, PT] = self.pt[self.kept]
        categories = np.zeros((self.kept.sum(), len(TABLE.categorical)), np.int64)
        work = {"efficiency": Work(1, 2, 5, 3, 5, 0.5), "generate": Work(2, 1, 4, 0, 4, 0.25)}
        return Out(self.kept, targets, categories, {"rows": len(self.kept), "clipped": 2}, work)


def source(counts: list[int]) -> Source:
    n = sum(counts)
    ones = np.ones(n, np.float32)
    return Source(
        matrix=np.zeros((n, len(TABLE.conditions)), np.float32),
        counts=np.array(counts),
        event=np.repeat(np.arange(len(counts)), counts),
        index=np.concatenate([np.arange(c) for c in counts]).astype(int),
        gen=dict.fromkeys(("pt", "eta", "phi", "mass", "hadronFlavour", "partonFlavour"), ones),
        position=np.arange(n),
        source_counts=np.array(counts),
    )


IDS = EventIds(np.array([1, 1]), np.array([7, 8]), np.array([30, 40], np.uint64), False)


def run(model: Scripted, rows: Source, folds: int = 1) -> tuple[Any, Counters]:
    counters = Counters()
    result = simulate(TABLE, model, rows, IDS, seed=1, dataset="d", folds=folds, counters=counters)
    return result, counters


def test_objects_are_ordered_cut_and_counted() -> None:
    model = Scripted([True, True, False, True, True], [20, 30, 99, 14, np.nan])
    result, counters = run(model, source([3, 2]))
    assert counters["micro_batches.4"] == 3
    assert counters["models.d1.efficiency.padded"] == 3
    assert counters["models.d1.generate.calls"] == 2
    assert counters["models.d1.generate.seconds"] == 0.25
    assert result.objects.counts.tolist() == [2, 0]
    assert result.objects["pt"].tolist() == [30, 20]
    assert result.index.tolist() == [1, 0]
    assert result.reconstructed.tolist() == [True, True, False, False, False]
    fates = {k.removeprefix("objects.Jet."): v for k, v in counters.items() if "Jet" in k}
    assert fates == {
        "in": 5,
        "not_reconstructed": 1,
        "nonfinite": 1,
        "below_threshold": 1,
        "out": 2,
        "clipped": 2,
        "clipped_columns": 0,
    }


def test_noise_belongs_to_event_object_and_fold() -> None:
    model = Scripted([True] * 6, [20] * 6)
    run(model, source([1, 2]), folds=2)
    assert model.seen is not None
    rows = zip(
        model.seen.luminosity_block,
        model.seen.event,
        model.seen.index,
        model.seen.fold,
        strict=True,
    )
    assert [tuple(int(v) for v in row) for row in rows] == [
        (7, 30, 0, 0),
        (7, 30, 0, 1),
        (8, 40, 0, 0),
        (8, 40, 0, 1),
        (8, 40, 1, 0),
        (8, 40, 1, 1),
    ]


def test_folds_become_events_of_their_own() -> None:
    model = Scripted([True] * 6, [20, 21, 22, 23, 24, 25])
    result, _ = run(model, source([1, 2]), folds=2)
    assert result.objects.counts.tolist() == [1, 1, 2, 2]
    assert result.objects["pt"].tolist() == [20, 21, 24, 22, 25, 23]


@pytest.mark.parametrize("folds", [1, 3])
def test_no_objects_are_no_problem(folds: int) -> None:
    result, counters = run(Scripted([], []), source([0, 0]), folds)
    assert result.objects.counts.tolist() == [0] * (2 * folds)
    assert counters["objects.Jet.in"] == 0


def test_order_is_that_of_two_keys() -> None:
    rng = np.random.default_rng(3)
    event = np.sort(rng.integers(0, 300, 2000))
    pt = np.round(rng.exponential(30.0, 2000) + 15.0).astype(np.float32)
    pt[0] = np.finfo(np.float32).max
    assert np.array_equal(_falling(pt, event), np.lexsort((-pt, event)))

"""A few generated events, made once for all tests of this room."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from samples import genjets, pileup, production, truth
from samples.generator import EventRecord, collide

EVENTS, POOL_EVENTS, SEED = 60, 48, 11


@pytest.fixture(scope="session")
def ttbar_record() -> EventRecord:
    return collide("ttbar", EVENTS, production.stream(SEED, "ttbar", 1, 0))


@pytest.fixture(scope="session")
def ttbar_line(ttbar_record: EventRecord) -> truth.Lineage:
    return truth.lineage(ttbar_record)


@pytest.fixture(scope="session")
def ttbar_inputs(ttbar_record: EventRecord, ttbar_line: truth.Lineage) -> genjets.Inputs:
    return genjets.jet_inputs(ttbar_record, ttbar_line)


@pytest.fixture(scope="session")
def pool() -> pileup.Pool:
    return production.pool_of(SEED, POOL_EVENTS)


@pytest.fixture(scope="session")
def ttbar_truth(pool: pileup.Pool) -> ak.Array:
    """The truth of the same events as ``ttbar_record``."""
    return production.batch_truth("ttbar", SEED, 0, EVENTS, pool)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)

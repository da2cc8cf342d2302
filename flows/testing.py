"""A small object with every difficulty of a real one, for tests and examples."""

from __future__ import annotations

import numpy as np

from flows.features import (
    Dequantise,
    Log,
    OneHot,
    QuantileNormal,
    ResponseAbove,
    Standardise,
)
from flows.layout import CategoryColumn, ConditionColumn, ObjectLayout, TargetColumn
from flows.noise import Identity
from flows.tables import TrainingTable

__all__ = ["toy_identity", "toy_layout", "toy_table"]

THRESHOLD = 15.0


def toy_layout() -> ObjectLayout:
    """Five conditions, two categories, six targets: spikes, peaks, integers, a threshold."""
    return ObjectLayout(
        object="toy",
        collection="Toy",
        source="GenToy",
        conditions=(
            ConditionColumn("pt", "GeV", (Log(), Standardise())),
            ConditionColumn("eta", "1", (Standardise(),)),
            ConditionColumn("flavour", "1", (OneHot((0.0, 4.0, 5.0)),)),
            ConditionColumn("nPU", "1", (Standardise(),)),
            ConditionColumn("density", "1", (QuantileNormal(16),)),
        ),
        categories=(CategoryColumn("charge", (-1, 1)), CategoryColumn("id", (0, 2, 6))),
        targets=(
            TargetColumn("pt", "GeV", (ResponseAbove("pt", THRESHOLD, 5.0), QuantileNormal())),
            TargetColumn("deta", "1", (QuantileNormal(),)),
            TargetColumn("tag", "1", (QuantileNormal(),), spikes=(-1.0,)),
            TargetColumn("tag2", "1", (QuantileNormal(),), spikes=(-1.0,)),
            TargetColumn("count", "1", (Dequantise(), QuantileNormal())),
            TargetColumn("iso", "1", (Log(offset=1e-3), QuantileNormal()), spikes=(0.0,)),
        ),
        pileup=("nPU", "density"),
    )


def toy_table(events: int, seed: int = 0) -> TrainingTable:
    """Draw objects whose response is asymmetric, wider at low pt, and bimodal by a hidden type."""
    rng = np.random.default_rng(seed)
    pt = 10.0 + rng.exponential(30.0, events)
    eta = rng.uniform(-2.5, 2.5, events)
    flavour = rng.choice([0.0, 4.0, 5.0], events, p=[0.6, 0.15, 0.25])
    n_pu = rng.poisson(rng.choice([20.0, 35.0], events)).astype(float)
    density = n_pu / rng.gamma(20.0, 0.5, events)
    conditions = np.stack([pt, eta, flavour, n_pu, density], 1)

    width = 0.08 + 0.6 / np.sqrt(pt) + 0.02 * np.abs(eta)
    hidden = rng.random(events) < 0.15 + 0.1 * (flavour == 5)
    shift = np.where(hidden, -0.25, 0.02)
    reco = pt * np.exp(shift + width * rng.normal(size=events) * (1 + 0.5 * hidden))
    reconstructed = (reco > THRESHOLD) & (rng.random(events) < 0.95 - 0.1 * (np.abs(eta) > 2))

    signal = rng.beta(1 + 3 * (flavour == 5), 2.5 - 1.5 * (flavour == 5), events)
    tag = 1 / (1 + np.exp(-8 * (signal - 0.5) - 0.8 * rng.normal(size=events)))
    tag2 = np.clip(tag + 0.1 * tag * (1 - tag) * rng.normal(size=events), 1e-6, 1 - 1e-6)
    failed = rng.random(events) < 0.02 + 0.05 * (np.abs(eta) > 2)
    tag, tag2 = np.where(failed, -1.0, tag), np.where(failed, -1.0, tag2)
    count = rng.poisson(2 + 3 * np.log(pt) + 4 * hidden).astype(float)
    iso = rng.exponential(0.02 * n_pu / np.sqrt(pt) + 0.02)
    iso = np.where(rng.random(events) < 0.3 * np.exp(-n_pu / 40), 0.0, iso)
    deta = width * 0.05 * rng.standard_t(4, events)
    identified = np.where(failed, 0, np.where(count > 12, 6, 2))
    charge = np.where(rng.random(events) < 0.01 + 0.1 * width, -1, 1)

    targets = np.stack([reco, deta, tag, tag2, count, iso], 1)[reconstructed]
    return TrainingTable(
        conditions=conditions.astype(np.float32),
        reconstructed=reconstructed,
        targets=targets.astype(np.float32),
        categories=np.stack([charge, identified], 1)[reconstructed].astype(np.int64),
        groups=np.arange(events),
        pileup=np.stack([n_pu, density], 1).astype(np.float32),
    )


def toy_identity(objects: int, *, seed: int = 1, objects_per_event: int = 3) -> Identity:
    """Identities of objects spread over events and luminosity blocks."""
    row = np.arange(objects)
    event = row // objects_per_event
    return Identity(
        seed=seed,
        dataset="toy",
        collection="Toy",
        run=np.ones_like(row),
        luminosity_block=1 + event // 100,
        event=event,
        index=row % objects_per_event,
        fold=np.zeros_like(row),
    )

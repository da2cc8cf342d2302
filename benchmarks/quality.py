"""Closure of a model against fresh full simulation, the truth sampled again beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flows.bundle import Bundle
from flows.noise import Identity
from flows.resident import resident
from flows.training import TrainingTable
from processors.classifier import SETTINGS, separation
from processors.distances import from_arrays
from processors.objects.table import ObjectTable

__all__ = ["measure"]

LIMIT = 0.03
BIN_LIMIT = 0.05
TAILS = (0.001, 0.01, 0.99, 0.999)
TAIL_TOLERANCE, TAIL_DEVIATIONS = 0.25, 3.0
SHARE_LIMIT = 0.01
EFFICIENCY_LIMIT, EFFICIENCY_ROWS = 0.02, 1_000
EFFICIENCY_ETA = (0.8, 1.3, 1.8, 2.4, 3.0)
AUC_LIMIT = 0.62
PT_QUANTILES = (0.25, 0.5, 0.75)
ETA_EDGES = (1.3, 2.5)
"""|eta| edges of the three bins: barrel, endcap, forward (for muons the last is empty)."""
LEAST_ROWS = 500
"""Rows on either side below which a bin is not judged (chosen: KS floor 0.055)."""
CLASSIFIER_ROWS = 100_000


class Sample(NamedTuple):
    """Modelled numbers of the rows that have a partner, on the rows of all generator objects.

    Attributes:
        has: ``(n,)`` bool, the row has a partner.
        targets: ``(has.sum(), T)``.
        categories: ``(has.sum(), K)``.
    """

    has: np.ndarray
    targets: np.ndarray
    categories: np.ndarray

    def where(self, rows: np.ndarray) -> Sample:
        """The partners on ``rows`` ``(n,)``."""
        kept = rows[self.has]
        return Sample(self.has & rows, self.targets[kept], self.categories[kept])


def measure(
    table: ObjectTable, bundle: Path, truth: TrainingTable, again: TrainingTable, seed: int
) -> dict[str, Any]:
    """Compare flash with full on objects that both have, full with full again for the floor.

    Arguments:
        table: The object.
        bundle: Its model.
        truth: Full simulation of fresh events.
        again: The same generated events through the detector once more.
        seed: Seed of the flash simulation.
    Raises: ValueError when the two tables are not of the same events.
    """
    if not np.array_equal(truth.conditions, again.conditions):
        message = "the two samples do not hold the same generated events; make them again"
        raise ValueError(message)
    flash = _simulate(bundle, truth, seed)
    full, other = (Sample(t.reconstructed, t.targets, t.categories) for t in (truth, again))
    pair, floor = (_common(full, second) for second in (flash, other))
    where = _bins(table, truth)
    variables = [_variable(table, i, pair, floor, where) for i in range(len(table.sampled))]
    auc = _auc(truth.conditions, pair, seed)
    summary = {
        "object": table.name,
        "auc": auc.auc,
        "auc_error": auc.error,
        "auc_floor": _auc(truth.conditions, floor, seed).auc,
        "classifier": dict(SETTINGS),
        "efficiency_max_dev": _efficiency(table, truth, _probability(bundle, truth)),
        "efficiency_max_dev_drawn": _efficiency(table, truth, flash.has),
        "efficiency_floor": _efficiency(table, truth, other.has),
        "shares_max_dev": max(_shares(table, pair).values()),
        "objects": len(truth.reconstructed),
        "compared": int(pair[0].has.sum()),
    }
    rows = variables + [{"object": table.name, **row} for row in _share_rows(table, pair, floor)]
    return {"rows": rows, "summary": summary, "misses": _misses(variables, summary)}


def _simulate(bundle: Path, truth: TrainingTable, seed: int) -> Sample:
    model = resident(Bundle.load(bundle))
    rows = np.arange(len(truth.conditions))
    zero = np.zeros(len(rows), dtype=np.int64)
    identity = Identity(seed, "quality", model.card.name, zero, zero, rows, zero, zero)
    out = model.simulate(truth.conditions, identity)
    return Sample(out.kept, out.targets, out.categories)


def _probability(bundle: Path, truth: TrainingTable) -> np.ndarray:
    return np.asarray(resident(Bundle.load(bundle)).probability(truth.conditions))


def _common(first: Sample, second: Sample) -> tuple[Sample, Sample]:
    both = first.has & second.has
    return first.where(both), second.where(both)


def _kinematics(table: ObjectTable, conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prefix = "GenMuon" if table.name == "muon" else "GenJet"
    names = [c.name for c in table.conditions]
    pt, eta = (conditions[:, names.index(f"{prefix}_{name}")] for name in ("pt", "eta"))
    return pt, np.abs(eta)


def _bins(table: ObjectTable, truth: TrainingTable) -> np.ndarray:
    """Number of the pt x eta bin of every row, ``(n,)``; pt edges are quartiles."""
    pt, eta = _kinematics(table, truth.conditions)
    row = np.searchsorted(np.quantile(pt[truth.reconstructed], PT_QUANTILES), pt)
    return row * (len(ETA_EDGES) + 1) + np.searchsorted(ETA_EDGES, eta)


def _variable(
    table: ObjectTable,
    i: int,
    pair: tuple[Sample, Sample],
    floor: tuple[Sample, Sample],
    where: np.ndarray,
) -> dict[str, Any]:
    full, flash = (sample.targets[:, i] for sample in pair)
    found = from_arrays(full, flash)
    noise = from_arrays(*(sample.targets[:, i] for sample in floor))
    worst, worst_floor = (_worst_bin(two, i, where) for two in (pair, floor))
    return {
        "object": table.name,
        "variable": table.sampled[i].name,
        "ks": found.ks,
        "ks_floor": noise.ks,
        "w1": found.w1,
        "w1_floor": noise.w1,
        "ks_worst_bin": worst,
        "ks_worst_bin_floor": worst_floor,
        "tails": _tails(full, flash, table.sampled[i].spikes),
    }


def _worst_bin(pair: tuple[Sample, Sample], i: int, where: np.ndarray) -> float:
    """Largest KS of column ``i`` in a pt x eta bin; ``where`` is the bin of every object."""
    number = where[pair[0].has]
    first, second = (sample.targets[:, i] for sample in pair)
    judged = [inside for n in np.unique(number) if (inside := number == n).sum() >= LEAST_ROWS]
    return max((from_arrays(first[j], second[j]).ks for j in judged), default=0.0)


def _tails(full: np.ndarray, flash: np.ndarray, spikes: tuple[float, ...]) -> dict[str, float]:
    """Flash fraction beyond full's quantiles over the nominal one, spikes left out."""
    for spike in spikes:
        full, flash = full[full != np.float32(spike)], flash[flash != np.float32(spike)]
    ratios = {}
    for share in TAILS:
        if len(full) * min(share, 1 - share) < 1 or not len(flash):
            continue
        edge = np.quantile(full, share)
        one, two = ((v < edge if share < 0.5 else v > edge).mean() for v in (full, flash))
        if one > 0:
            deviation = abs(two - one) / np.sqrt(one * (1 / len(full) + 1 / len(flash)))
            fine = abs(two / one - 1) <= TAIL_TOLERANCE or deviation <= TAIL_DEVIATIONS
            ratios[str(share)] = 1.0 if fine and two == one else float(two / one)
            ratios[f"{share}_ok"] = float(fine)
    return ratios


def _shares(table: ObjectTable, pair: tuple[Sample, Sample]) -> dict[str, float]:
    """Largest absolute difference of the share of a category value or a spike, per column."""
    found = {}
    full, flash = pair
    for i, column in enumerate(table.categorical):
        found[column.name] = max(
            abs((full.categories[:, i] == v).mean() - (flash.categories[:, i] == v).mean())
            for v in column.values
        )
    for i, column in enumerate(table.sampled):
        for spike in column.spikes:
            one, two = ((s.targets[:, i] == np.float32(spike)).mean() for s in pair)
            found[f"{column.name} = {spike:g}"] = abs(one - two)
    return {name: float(value) for name, value in found.items()}


def _share_rows(
    table: ObjectTable, pair: tuple[Sample, Sample], floor: tuple[Sample, Sample]
) -> list[dict[str, Any]]:
    noise = _shares(table, floor)
    return [
        {"variable": name, "share_dev": value, "share_dev_floor": noise[name]}
        for name, value in _shares(table, pair).items()
    ]


def _efficiency(table: ObjectTable, truth: TrainingTable, second: np.ndarray) -> float:
    """Largest difference of the reconstructed share in bins of at least 1,000 objects.

    ``second`` ``(n,)`` is who was drawn or with what probability; the latter adds no noise.

    Six slices of |eta|, times as many of pt, at most ten, as leave 1,500 objects in the mean bin.
    """
    pt, eta = _kinematics(table, truth.conditions)
    slices = int(np.clip(len(pt) / (1.5 * EFFICIENCY_ROWS * (len(EFFICIENCY_ETA) + 1)), 1, 10))
    rows = np.digitize(pt, np.quantile(pt, np.linspace(0, 1, slices + 1)[1:-1]))
    number = rows * 10 + np.digitize(eta, EFFICIENCY_ETA)
    judged = [inside for n in np.unique(number) if (inside := number == n).sum() >= EFFICIENCY_ROWS]
    if not judged:
        message = f"{len(pt)} {table.name} objects fill no bin of {EFFICIENCY_ROWS}; take more"
        raise ValueError(message)
    return max(
        abs(float(truth.reconstructed[inside].mean() - second[inside].mean())) for inside in judged
    )


def _auc(conditions: np.ndarray, pair: tuple[Sample, Sample], seed: int) -> Any:
    samples = [
        np.hstack([conditions[s.has], s.targets, s.categories])[:CLASSIFIER_ROWS] for s in pair
    ]
    return separation(*samples, seed=seed)


def _misses(variables: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
    """Every requirement that is not met, in words."""
    found = []
    for row in variables:
        for name in ("ks", "w1"):
            limit = max(LIMIT, 2 * row[f"{name}_floor"])
            if row[name] > limit:
                found.append(f"{row['variable']}: {name} {row[name]:.3f} > {limit:.3f}")
        if row["ks_worst_bin"] > BIN_LIMIT:
            found.append(f"{row['variable']}: ks {row['ks_worst_bin']:.3f} in a bin")
        found += [
            f"{row['variable']}: tail beyond {share} is {row['tails'][str(share)]:.2f} of full"
            for share in TAILS
            if row["tails"].get(f"{share}_ok") == 0.0
        ]
    limits = {
        "auc": AUC_LIMIT,
        "efficiency_max_dev": EFFICIENCY_LIMIT,
        "shares_max_dev": SHARE_LIMIT,
    }
    found += [f"{k} {summary[k]:.3f} > {v}" for k, v in limits.items() if summary[k] > v]
    return found

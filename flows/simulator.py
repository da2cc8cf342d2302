"""The resident form of an object's model: conditions and identities in, columns out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.batching import ComputePool
from flows.bundle import Bundle
from flows.noise import Identity, row_normals, row_uniforms
from flows.objectmodel import ObjectModel, ObjectSampler
from flows.pileup import draw_rows
from flows.resident import ResidentModel
from flows.work import Work

__all__ = ["ATTEMPTS", "MISSING_CATEGORY", "ObjectSimulator", "Simulated"]

ATTEMPTS = 3
"""Times a row is drawn again, with the next attempt of its noise, before it is clipped."""
MISSING_CATEGORY = -1
"""Category of a row that has no conditions."""
RANGE_SLACK = 1e-6
"""Share of a training range by which a condition may leave it before it is counted."""
COUNTERS = (
    "rows",
    "kept",
    "nonfinite_conditions",
    "outside_training_range",
    "resampled",
    "clipped",
    "nonfinite",
)


class Simulated(NamedTuple):
    """What came out of one call.

    Attributes:
        kept: bool ``(n,)``, drawn as reconstructed.
        targets: float32 ``(kept, T)`` in the units of the card's targets.
        categories: int64 ``(kept, K)``, values of the card's categories.
        counters: rows in, rows ``kept``, rows with ``nonfinite_conditions`` (kept, all targets
            NaN), rows ``outside_training_range`` of a condition, draws ``resampled``, rows
            ``clipped`` after the last attempt, rows ``nonfinite`` after the last attempt.
        work: What it cost, by stage; no part of the result.
    """

    kept: NDArray[np.bool_]
    targets: NDArray[np.float32]
    categories: NDArray[np.int64]
    counters: dict[str, int]
    work: dict[str, Work]


class ObjectSimulator(ResidentModel):
    """Draws reconstructed objects; rows are independent of each other and of the calls around."""

    def __init__(self, bundle: Bundle, path: Path | None, device: str, pool: ComputePool) -> None:
        super().__init__(bundle, path, device, pool)
        model = ObjectModel.from_bundle(bundle, where=f"bundle {path or self.card.name}")
        self.layout = model.layout
        self._profile: NDArray[np.float32] = model.pileup.numpy()
        self._sampler = ObjectSampler(model.to(device))
        self._efficiency = self.stage("efficiency", self._keep)
        self.stage("generate", self._draw)
        self._values = [
            np.array(column.values, dtype=np.int64) for column in self.layout.categories
        ]
        self._ranges = self._training_ranges()

    def simulate(self, conditions: NDArray[np.float32], identity: Identity) -> Simulated:
        """Draw which objects are reconstructed, then their columns.

        Arguments:
            conditions: float32 ``(n, C)`` in the card's order and units.
            identity: Whose noise to use, ``(n,)``.
        Raises: ValueError if the shapes do not match the card.
        """
        conditions = self._checked(conditions, identity)
        counters = dict.fromkeys(COUNTERS, 0) | {"rows": len(conditions)}
        work = dict.fromkeys(self._stages, Work())
        usable = _usable(conditions)
        counters["nonfinite_conditions"] = int((~usable).sum())
        kept = ~usable
        if usable.all():
            good, who = conditions, identity
        else:
            good, who = conditions[usable], identity.take(usable)
        counters["outside_training_range"] = self._outside(good)
        chosen, features = self._reconstructed(good, who, work)
        kept[usable] = chosen
        counters["kept"] = int(kept.sum())
        drawn = usable[kept]
        targets = np.full((len(drawn), len(self.layout.targets)), np.nan, dtype=np.float32)
        categories = np.full((len(drawn), len(self._values)), MISSING_CATEGORY, dtype=np.int64)
        rows = np.flatnonzero(chosen)
        if len(rows):
            inputs = features.take(rows, axis=0), good.take(rows, axis=0)
            made, codes = self._columns(inputs, who.take(rows), counters, work)
            if drawn.all():
                targets = made
            else:
                targets[drawn] = made
            for k, values in enumerate(self._values):
                categories[drawn, k] = values[codes[:, k]]
        return Simulated(kept, targets, categories, counters, work)

    def probability(self, conditions: NDArray[np.float32]) -> NDArray[np.float32]:
        """p(reconstructed | conditions) for ``(n, C)``, NaN where a condition is not finite."""
        given = np.ascontiguousarray(conditions, dtype=np.float32)
        result = np.full(len(given), np.nan, dtype=np.float32)
        usable = _usable(given)
        if usable.any():
            noise = np.zeros((int(usable.sum()), 2), dtype=np.int64)
            counters = np.zeros((len(noise), 3), dtype=np.int64)
            result[usable] = self._efficiency.apply(given[usable], noise, counters)[1]
        return result

    def reference(self, conditions: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Samples ``(n, ...)`` of fixed noise, row by row: kept, targets, categories."""
        rows = np.arange(len(conditions))
        zero = np.zeros(len(rows), dtype=np.int64)
        name = self.layout.collection
        out = self.simulate(
            conditions, Identity(0, "reference", name, zero, zero, rows, zero, zero)
        )
        targets = np.full((len(rows), out.targets.shape[1]), np.nan, dtype=np.float32)
        categories = np.full((len(rows), out.categories.shape[1]), MISSING_CATEGORY)
        targets[out.kept], categories[out.kept] = out.targets, out.categories
        return {"kept": out.kept, "targets": targets, "categories": categories}

    def stats(self) -> dict[str, Any]:
        """Device, threads, what computes the flow, work done so far by stage."""
        return super().stats() | {"way": self._sampler.way}

    def draw_pileup(self, identity: Identity) -> NDArray[np.float32]:
        """Pile-up conditions of every event ``(n, P)``, drawn jointly from the bundle's profile.

        Columns follow ``card.layout.pileup``. Give every object of an event the same identity
        (index 0, one collection), so that all see the same pile-up.
        """
        return draw_rows(self._profile, identity)

    def _reconstructed(
        self, conditions: NDArray[np.float32], identity: Identity, work: dict[str, Work]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which rows are kept, with the features of all."""
        if not len(conditions):
            return np.zeros(0, dtype=bool), conditions
        keys, counters = identity.keys("efficiency"), identity.counters()
        kept, _, features = self.run("efficiency", work, conditions, keys, counters)
        return kept, features

    def _columns(
        self,
        inputs: tuple[NDArray[np.float32], NDArray[np.float32]],
        identity: Identity,
        counters: dict[str, int],
        work: dict[str, Work],
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        noise = np.concatenate(
            [identity.keys("categories"), identity.keys("flow"), identity.counters()], axis=1
        )
        attempt = np.zeros(len(noise), dtype=np.int64)
        targets, codes, outside, broken = self.run("generate", work, *inputs, noise, attempt)
        for number in range(1, ATTEMPTS + 1):
            again = np.flatnonzero(outside | broken)
            if not len(again):
                break
            counters["resampled"] += len(again)
            rows = *(array[again] for array in inputs), noise[again], attempt[again] + number
            results = self.run("generate", work, *rows)
            for array, result in zip((targets, codes, outside, broken), results):
                array[again] = result
        counters["clipped"] = int((outside & ~broken).sum())
        counters["nonfinite"] = int(broken.sum())
        targets[broken] = np.nan
        return targets, codes

    def _keep(self, conditions: Tensor, keys: Tensor, counters: Tensor) -> tuple[Tensor, ...]:
        probability, features = self._sampler.probability(conditions)
        attempt = torch.zeros_like(keys[:, 0])
        uniform = row_uniforms(keys, counters, 1, attempt)[:, 0]
        return uniform < probability, probability, features

    def _draw(
        self, features: Tensor, conditions: Tensor, noise: Tensor, attempt: Tensor
    ) -> tuple[Tensor, ...]:
        discrete, targets = len(self._sampler.model.sizes), len(self.layout.targets)
        owner = noise[:, 4:7].contiguous()
        uniform = row_uniforms(noise[:, 0:2], owner, discrete, torch.zeros_like(attempt))
        normal = row_normals(noise[:, 2:4], owner, targets, attempt)
        return self._sampler.draw(features, conditions, uniform, normal)

    def _training_ranges(self) -> NDArray[np.float64]:
        ranges = self.card.ranges
        edges = [
            (ranges[n].low, ranges[n].high) for n in self.layout.condition_names if n in ranges
        ]
        if len(edges) != len(self.layout.conditions):
            return np.array([[-np.inf, np.inf]] * len(self.layout.conditions))
        table = np.array(edges, dtype=np.float64)
        slack = RANGE_SLACK * np.maximum(table[:, 1] - table[:, 0], np.abs(table).max(1))
        widened: NDArray[np.float64] = table + slack[:, None] * np.array([-1.0, 1.0])
        return widened

    def _outside(self, conditions: NDArray[np.float32]) -> int:
        low, high = self._ranges.T
        return int(((conditions < low) | (conditions > high)).any(1).sum())

    def _checked(self, conditions: Any, identity: Identity) -> NDArray[np.float32]:
        array = np.ascontiguousarray(conditions, dtype=np.float32)
        expected = (len(identity), len(self.layout.conditions))
        if array.shape != expected:
            msg = (
                f"conditions have shape {array.shape}, model {self.card.name!r} expects "
                f"{expected}: one row per identity, columns {list(self.layout.condition_names)}"
            )
            raise ValueError(msg)
        return array


def _usable(conditions: NDArray[np.float32]) -> NDArray[np.bool_]:
    usable: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(conditions), axis=1)
    return usable

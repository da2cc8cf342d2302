"""Declarative tables of simulated objects, compiled to what the flows need to know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from flows.layout import CategoryColumn, ConditionColumn, ObjectLayout, TargetColumn
from processors.objects.columns import Branch, round_mantissa
from processors.objects.derived import DerivedFunction, derive
from processors.objects.relations import Absolute, Relation

__all__ = [
    "Categorical",
    "Condition",
    "Decoded",
    "Derived",
    "ObjectTable",
    "Sampled",
    "TargetRows",
]

Columns = Mapping[str, np.ndarray]
POWER_OF_TWO = 0.5
"""Mantissa of a power of two in ``frexp``: below it, stored values lie twice as dense."""


@dataclass(frozen=True)
class Condition:
    """A number that the models are given, computed by ``processors.flashsim.conditions``."""

    name: str
    unit: str
    transforms: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Sampled:
    """A continuous column drawn by the flow.

    Arguments:
        name: NanoAOD field.
        unit: Unit of the modelled number.
        transforms: Chain of ``flows.features`` applied to the modelled number.
        relation: What is modelled.
        spikes: Values that occur exactly: sentinels, empty cones.
        tolerance: Distance from a spike that still counts as the spike (rounding on disk).
        bounds: Range that dequantised values stay in.
    """

    name: str
    unit: str
    transforms: tuple[Any, ...] = ()
    relation: Relation = field(default_factory=Absolute)
    spikes: tuple[float, ...] = ()
    tolerance: float = 0.0
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def target(self, reco: Columns, gen: Columns, jitter: np.ndarray) -> np.ndarray:
        """Modelled number of each object, ``(n,)`` float32; spikes exact, the rest dequantised.

        Arguments:
            reco: Columns of the reconstructed objects.
            gen: Columns of the generator objects.
            jitter: Displacement of the values as read, ``(n,)``, within half a step of their
                stored precision: storing rounds it away again.
        """
        value = reco[self.name].astype(np.float32)
        exact = self.relation.target(value, reco, gen)
        within = _reflect(value + jitter, *self.bounds)
        target = self.relation.target(within, reco, gen)
        for spike in self.spikes:
            near = np.abs(exact - np.float32(spike)) <= np.float32(self.tolerance)
            target = np.where(target == np.float32(spike), exact, target)
            target = np.where(near, np.float32(spike), target)
        return target.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Categorical:
    """An integer column with a finite set of values, drawn by the categorical head."""

    name: str
    values: tuple[int, ...]
    relation: Relation = field(default_factory=Absolute)


@dataclass(frozen=True)
class Derived:
    """A column computed from others by the function of its name.

    Arguments:
        name: NanoAOD field.
        excess: Tells which of the objects ``(n,)`` that function has to hold within its range.
    """

    name: str
    excess: DerivedFunction | None = None


class TargetRows(NamedTuple):
    """Modelled numbers of reconstructed objects.

    Attributes:
        targets: ``(m, T)`` float32.
        categories: ``(m, K)`` int64 values.
        unknown: Category values outside the table's lists, moved to the nearest listed one.
        clipped: Sampled values outside what their relation can say, moved to its edge.
    """

    targets: np.ndarray
    categories: np.ndarray
    unknown: int
    clipped: int


class Decoded(NamedTuple):
    """Stored columns of simulated objects.

    Attributes:
        columns: By name, ``(m,)`` each, in the types and the precision of the branches.
        clipped: Numbers that a relation's floor, the range of an integer type or the range of a
            derived column moved.
    """

    columns: dict[str, np.ndarray]
    clipped: int


@dataclass(frozen=True)
class ObjectTable:
    """Everything that flash simulation knows about one object.

    Arguments:
        name: ``muon`` or ``jet``: the selection and the bundle.
        collection: NanoAOD collection that is made.
        source: NanoAOD collection that it is made from.
        match: Field of the reconstructed collection holding the source index.
        threshold: Lowest stored pt in GeV.
        conditions: What the models are given, in order.
        columns: Every column of the model, in the order of evaluation.
        branches: Columns as stored.
        functions: ``derived.py`` table of the collection.
    """

    name: str
    collection: str
    source: str
    match: str
    threshold: float
    conditions: tuple[Condition, ...]
    columns: tuple[Sampled | Categorical | Derived, ...]
    branches: tuple[Branch, ...]
    functions: Mapping[str, DerivedFunction]

    @property
    def sampled(self) -> tuple[Sampled, ...]:
        """Columns drawn by the flow, in order."""
        return tuple(column for column in self.columns if isinstance(column, Sampled))

    @property
    def categorical(self) -> tuple[Categorical, ...]:
        """Columns drawn by the categorical head, in order."""
        return tuple(column for column in self.columns if isinstance(column, Categorical))

    @property
    def modelled(self) -> tuple[str, ...]:
        """NanoAOD fields that a training sample must hold."""
        return tuple(column.name for column in (*self.sampled, *self.categorical))

    def layout(self) -> ObjectLayout:
        """What the bundle's card stores."""
        return ObjectLayout(
            object=self.name,
            collection=self.collection,
            source=self.source,
            conditions=tuple(
                ConditionColumn(c.name, c.unit, c.transforms) for c in self.conditions
            ),
            categories=tuple(CategoryColumn(c.name, c.values) for c in self.categorical),
            targets=tuple(
                TargetColumn(c.name, c.unit, c.transforms, c.spikes) for c in self.sampled
            ),
            pileup=tuple(c.name for c in self.conditions if c.name.startswith("Pileup_")),
        )

    def encode(self, reco: Columns, gen: Columns, uniforms: np.ndarray) -> TargetRows:
        """Modelled numbers of matched objects.

        Arguments:
            reco: Columns of the reconstructed partners, ``(m,)`` each.
            gen: Columns of the generator objects, ``(m,)`` each.
            uniforms: Numbers in (0, 1), ``(m, T)``: where inside its step of stored precision
                each sampled value is taken to be.
        """
        stored = {branch.name: branch for branch in self.branches}
        rows = len(uniforms)
        targets = np.empty((rows, len(self.sampled)), dtype=np.float32)
        clipped = 0
        for i, column in enumerate(self.sampled):
            clipped += column.relation.cut(reco[column.name], reco, gen)
            moved = _displacement(reco[column.name], uniforms[:, i], stored[column.name])
            targets[:, i] = column.target(reco, gen, moved)
        categories = np.empty((rows, len(self.categorical)), dtype=np.int64)
        unknown = 0
        for i, category in enumerate(self.categorical):
            raw = category.relation.target(reco[category.name].astype(np.int64), reco, gen)
            categories[:, i], moved = _nearest(raw, category.values)
            unknown += moved
        return TargetRows(targets, categories, unknown, clipped)

    def decode(self, targets: np.ndarray, categories: np.ndarray, gen: Columns) -> Decoded:
        """Columns as stored, from modelled numbers: the inverse of ``encode``, then the derived.

        Every sampled column is rounded to its stored precision before anything is derived from it,
        so what is written agrees with what it was derived from.

        Arguments:
            targets: ``(m, T)`` float32.
            categories: ``(m, K)`` int64 values.
            gen: Columns of the generator objects, ``(m,)`` each.
        """
        stored = {branch.name: branch for branch in self.branches}
        columns: dict[str, np.ndarray] = {}
        clipped = 0
        for i, column in enumerate(self.sampled):
            target = np.ascontiguousarray(targets[:, i])
            clipped += column.relation.floored(target, columns, gen)
            value = column.relation.value(target, columns, gen)
            columns[column.name], moved = _store(value, stored[column.name])
            clipped += moved
        for i, category in enumerate(self.categorical):
            value = category.relation.value(categories[:, i], columns, gen)
            columns[category.name], moved = _store(value, stored[category.name])
            clipped += moved
        for name, function in self.functions.items():
            value = derive({name: function}, columns, gen)[name]
            columns[name], moved = _store(value, stored[name])
            clipped += moved
        for derived in self.columns:
            if isinstance(derived, Derived) and derived.excess is not None:
                clipped += int(np.count_nonzero(derived.excess(columns, gen)))
        return Decoded(columns, clipped)


def _nearest(values: np.ndarray, allowed: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Each value moved to the nearest allowed one; how many had to move."""
    known = np.sort(np.asarray(allowed, dtype=np.int64))
    right = np.searchsorted(known, values).clip(0, len(known) - 1)
    left = (right - 1).clip(0)
    closer = np.abs(values - known[left]) <= np.abs(known[right] - values)
    nearest = np.where(closer & (known[right] != values), known[left], known[right])
    return nearest, int(np.count_nonzero(nearest != values))


def _displacement(values: np.ndarray, uniforms: np.ndarray, branch: Branch) -> np.ndarray:
    """Move within the interval of numbers that are stored as each of ``values``, ``(n,)``."""
    half = uniforms - 0.5
    if branch.dtype != "float32":
        return half
    if branch.mantissa_bits is None:
        return np.zeros(values.shape, dtype=np.float32)
    mantissa, exponent = np.frexp(values)
    step = np.ldexp(np.float32(1), exponent - 1 - branch.mantissa_bits)
    finer_below = (np.abs(mantissa) == POWER_OF_TWO) & (half < 0)
    moved = np.sign(values) * half * np.where(finer_below, step / 2, step)
    return np.where(np.isfinite(values) & (values != 0), moved, 0).astype(np.float32)


def _reflect(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Fold what left ``[low, high]`` back inside, at half the distance."""
    folded = np.where(values > high, high - (values - high) / 2, values)
    return np.where(folded < low, low + (low - folded) / 2, folded).astype(np.float32)


def _store(values: np.ndarray, branch: Branch) -> tuple[np.ndarray, int]:
    """Values as the branch holds them; how many did not fit into an integer type."""
    if branch.dtype == "float32":
        return round_mantissa(values, branch.mantissa_bits), 0
    if branch.dtype == "bool":
        return values != 0, 0
    if values.dtype == branch.dtype:
        return values, 0
    limits = np.iinfo(branch.dtype)
    if np.issubdtype(values.dtype, np.floating):
        values = np.rint(values)
    held = np.clip(values, limits.min, limits.max)
    return held.astype(branch.dtype), int(np.count_nonzero(held != values))

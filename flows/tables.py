"""Training tables: checked, split, and turned into what the networks see."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.categorical import encode
from flows.features import Chain
from flows.layout import CategoryColumn, ObjectLayout, TargetColumn
from flows.objectmodel import ObjectModel

__all__ = [
    "COMMON_SEED",
    "Prepared",
    "TrainingTable",
    "check_finite",
    "check_shapes",
    "check_table",
    "fit_layout",
    "held_back",
    "prepare",
    "seed_of_validation",
    "split",
]

COMMON_SEED = 0
"""Of parts that are the same in every run, such as halves of a sample."""
INSTEAD = 2**63
"""Above the seeds of all runs."""

Split = tuple[Tensor, Tensor]


class TrainingTable(NamedTuple):
    """Objects to learn from, all in physics units.

    Attributes:
        conditions: float32 ``(n, C)``, every generator object.
        reconstructed: bool ``(n,)``, it has a reconstructed partner.
        targets: float32 ``(m, T)``, partners in the order of their generator objects.
        categories: int64 ``(m, K)``, values (not codes) of the same partners.
        groups: integers ``(n,)``: rows with the same number are never split over training and
            validation (the event's number); ``None`` treats every row alone.
        pileup: float32 ``(p, P)``, one row per event for the pile-up profile.
    """

    conditions: NDArray[np.float32]
    reconstructed: NDArray[np.bool_]
    targets: NDArray[np.float32]
    categories: NDArray[np.int64]
    groups: NDArray[Any] | None = None
    pileup: NDArray[np.float32] | None = None


class Prepared(NamedTuple):
    """What the networks see.

    Attributes:
        features: float32 ``(n, F)``.
        reconstructed: float32 ``(n,)``, 0 or 1.
        matched: int64 ``(m,)``, row of every partner's generator object.
        encoded: uint8 ``(m, sum of sizes)``, one-hot discrete columns, the hidden ones last.
        latent: float32 ``(m, T)``, transformed targets, normal noise in place of spikes.
        groups: int64 ``(n,)``.
    """

    features: Tensor
    reconstructed: Tensor
    matched: Tensor
    encoded: Tensor
    latent: Tensor
    groups: Tensor


def check_table(table: TrainingTable, layout: ObjectLayout) -> None:
    """Compare shapes and values with the layout.

    Raises: ValueError naming the column, what was expected and what was found.
    """
    n, m = len(table.conditions), int(table.reconstructed.sum())
    shapes = {
        "conditions": (table.conditions.shape, (n, len(layout.conditions))),
        "reconstructed": (table.reconstructed.shape, (n,)),
        "targets": (table.targets.shape, (m, len(layout.targets))),
        "categories": (table.categories.shape, (m, len(layout.categories))),
    }
    if table.groups is not None:
        shapes["groups"] = (table.groups.shape, (n,))
    if table.pileup is not None:
        shapes["pileup"] = (table.pileup.shape, (len(table.pileup), len(layout.pileup)))
    check_shapes("training table", shapes)
    check_finite("condition", layout.condition_names, table.conditions)
    check_finite("target", layout.target_names, table.targets)
    for column, values in zip(layout.categories, table.categories.T):
        strange = sorted(set(np.unique(values).tolist()) - set(column.values))
        if strange:
            msg = (
                f"training table: category {column.name!r} takes {strange[:5]}, which are not "
                f"among its declared values {column.values}; declare them or map them"
            )
            raise ValueError(msg)


def check_shapes(table: str, shapes: Mapping[str, tuple[Any, Any]]) -> None:
    """Compare shapes, found and expected by name.

    Raises: ValueError naming the first that differs.
    """
    for name, (found, expected) in shapes.items():
        if found != expected:
            msg = f"{table}: {name} has shape {found}, the layout expects {expected}"
            raise ValueError(msg)


def check_finite(what: str, names: tuple[str, ...], values: NDArray[np.float32]) -> None:
    """Refuse columns ``(n, k)`` that hold something else than finite numbers.

    Raises: ValueError counting them by column.
    """
    wrong = (~np.isfinite(values)).sum(0)
    if wrong.any():
        counts = {n: int(c) for n, c in zip(names, wrong) if c}
        msg = f"training table: {what}s hold values that are not finite {counts}; drop these rows"
        raise ValueError(msg)


def fit_layout(table: TrainingTable, layout: ObjectLayout, seed: int) -> ObjectLayout:
    """Fit every transform that lacks constants; spikes take no part."""
    conditions = tuple(
        dataclasses.replace(c, transforms=c.chain.fit(_tensor(values)).transforms)
        for c, values in zip(layout.conditions, table.conditions.T)
    )
    given = _given(table, layout)
    noise = _uniform(table.targets.shape, seed)
    targets = []
    for t, column in enumerate(layout.targets):
        values = table.targets[:, t]
        rest = torch.from_numpy(_spike_codes(column, values) == 0)
        chain: Chain = column.chain.fit(
            _tensor(values)[rest], {n: v[rest] for n, v in given.items()}, noise[rest, t]
        )
        targets.append(dataclasses.replace(column, transforms=chain.transforms))
    return dataclasses.replace(layout, conditions=conditions, targets=tuple(targets))


def prepare(table: TrainingTable, model: ObjectModel, seed: int) -> Prepared:
    """Apply the fitted transforms of a model to a table."""
    layout = model.layout
    with torch.no_grad():
        features = model.columns.features(torch.from_numpy(table.conditions))
    noise = _uniform(table.targets.shape, seed)
    generator = torch.Generator().manual_seed(seed)
    filler = torch.randn(table.targets.shape, generator=generator)
    given = _given(table, layout)
    latent = torch.empty(table.targets.shape, dtype=torch.float32)
    codes = [_codes(c, v) for c, v in zip(layout.categories, table.categories.T)]
    for t, column in enumerate(layout.targets):
        values = table.targets[:, t]
        spike = torch.from_numpy(_spike_codes(column, values))
        mapped = column.chain.forward(_tensor(values), given, noise[:, t]).float()
        latent[:, t] = torch.where(spike > 0, filler[:, t], mapped)
        _latent_is_finite(column, latent[:, t])
        if column.spikes:
            codes.append(spike)
    stacked = torch.stack(codes, 1) if codes else torch.zeros(len(latent), 0, dtype=torch.int64)
    groups = np.arange(len(features)) if table.groups is None else table.groups
    return Prepared(
        features=features,
        reconstructed=torch.from_numpy(table.reconstructed).float(),
        matched=torch.from_numpy(np.flatnonzero(table.reconstructed)),
        encoded=encode(stacked, model.sizes),
        latent=latent,
        groups=torch.from_numpy(np.asarray(groups).astype(np.int64)),
    )


def split(data: Prepared, share: float, seed: int) -> tuple[Split, Split]:
    """Rows to train on and to validate with: of all generator objects, and of the partners.

    Which side a group is on depends on its number and the seed alone.
    """
    held = torch.from_numpy(held_back(data.groups.numpy(), share, seed))
    rows = torch.arange(len(held))
    matched = held[data.matched]
    partners = torch.arange(len(matched))
    return (rows[~held], rows[held]), (partners[~matched], partners[matched])


def held_back(groups: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Rows ``(n,)`` whose group is in a part of that share, chosen by group and seed alone."""
    below: NDArray[np.bool_] = _hash(groups, seed) < share
    return below


def seed_of_validation(seed: int) -> int:
    """Seed of a run's split into training and validation, never that of common parts.

    With one seed for both, a half would hold all that validates, the other nothing.

    Example:
        >>> seed_of_validation(1), seed_of_validation(COMMON_SEED) == COMMON_SEED
        (1, False)
    """
    return INSTEAD if seed == COMMON_SEED else seed


def _hash(numbers: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """SplitMix64's finaliser to [0, 1): Steele et al. (2014), doi:10.1145/2660193.2660195."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word = (z ^ (z >> np.uint64(31))) >> np.uint64(11)
    return word.astype(np.float64) * 2.0**-53


def _tensor(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _given(table: TrainingTable, layout: ObjectLayout) -> dict[str, Tensor]:
    matched = table.conditions[table.reconstructed]
    return {n: _tensor(v) for n, v in zip(layout.condition_names, matched.T)}


def _uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed ^ 0x5EED)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _codes(column: CategoryColumn, values: NDArray[np.int64]) -> Tensor:
    order = np.argsort(column.values)
    places = np.searchsorted(np.array(column.values)[order], values)
    return torch.from_numpy(order[places].astype(np.int64))


def _spike_codes(column: TargetColumn, values: NDArray[np.float32]) -> NDArray[np.int64]:
    codes = np.zeros(len(values), dtype=np.int64)
    for number, spike in enumerate(column.spikes, start=1):
        codes[values == np.float32(spike)] = number
    return codes


def _latent_is_finite(column: TargetColumn, latent: Tensor) -> None:
    wrong = int((~torch.isfinite(latent)).sum())
    if wrong:
        msg = (
            f"target {column.name!r}: its transforms make {wrong} of {len(latent)} training values "
            f"not finite; declare the values they cannot take as spikes, or clip first"
        )
        raise ValueError(msg)

"""Corrections of simulation: zuko's spline flows with their means and widths.

Source: CaioDaumann/Flows_for_sim_correction and HiggsDNA. The state dict says nothing about the
architecture, four ``.npy`` files hold means and widths of variables and conditions, the order of
the variables and the treatment of their zeros is code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.bundle import Bundle
from flows.card import Range
from flows.engine.compile_zuko import compile_zuko
from flows.engine.weights import CompileError
from flows.features import Log, Standardise, Transform, ZeroPeak
from flows.importers.columns import Columns, read_columns
from flows.importers.packing import pack
from flows.importers.source import (
    ForeignModelError,
    positive,
    read_array,
    read_checkpoint,
    state_of,
)
from flows.layout import ConditionColumn, ObjectLayout, TargetColumn

__all__ = ["import_zuko", "photon_columns"]

VARIABLES = {
    "r9": ("1", None),
    "sieie": ("1", None),
    "etaWidth": ("1", None),
    "phiWidth": ("1", None),
    "sieip": ("1", None),
    "s4": ("1", None),
    "hoe": ("1", 0.001),
    "ecalPFClusterIso": ("GeV", 0.05),
    "trkSumPtHollowConeDR03": ("GeV", 0.05),
    "trkSumPtSolidConeDR04": ("GeV", 0.05),
    "pfChargedIso": ("GeV", 0.05),
    "pfChargedIsoWorstVtx": ("GeV", 0.05),
    "esEffSigmaRR": ("1", 0.05),
    "esEnergyOverRawE": ("1", 0.05),
    "hcalPFClusterIso": ("GeV", 0.05),
    "energyErr": ("GeV", None),
}
"""Unit and shift of the peak at zero (2022 models; hoe: 0.002 in later trainings)."""
CONDITIONS = {"pt": "GeV", "ScEta": "1", "phi": "rad", "rho": "GeV"}
DOMAIN = "is_data"
"""Last condition: 0 simulation, 1 data; not standardised."""
OFFSET = 1e-3
"""Under the logarithm of variables with a peak."""
FILES = ("input_means", "input_std", "conditions_means", "conditions_std")
SECOND_STEP = ("min_values.npy", "max_values.npy")


def import_zuko(
    weights: Path,
    normalisation: Path,
    *,
    transforms: int,
    hidden_features: Sequence[int],
    bins: int,
    passes: int | None = None,
    columns: Path | None = None,
    hoe_shift: float | None = None,
    name: str | None = None,
    era: str = "unspecified",
) -> Bundle:
    """Make a bundle of a state dict of ``zuko.flows.NSF``.

    Arguments:
        weights: File of its ``state_dict()``.
        normalisation: Folder of ``input_means.npy``, ``input_std.npy``, ``conditions_means.npy``,
            ``conditions_std.npy``.
        transforms: Number of transforms.
        hidden_features: Units of the hidden layers.
        bins: Of every spline.
        passes: ``None`` for autoregressive, 2 for coupling.
        columns: File of columns with all transforms before the standardisation; default:
            16 variables of photons of Run 3.
        hoe_shift: Shift of the zeros of H/E, if not that of the 2022 models; not with columns.
        name: Of the model; default: the file's.
        era: Campaign of the training data.
    Raises: ForeignModelError if something is missing or does not fit.
    """
    if columns is not None and hoe_shift is not None:
        msg = (
            f"{columns}: the file of columns holds all transforms, a shift of H/E would have no "
            f"effect; write it into the file, or leave it out"
        )
        raise ForeignModelError(msg)
    state = state_of(read_checkpoint(weights), weights)
    bare = photon_columns(hoe_shift) if columns is None else read_columns(columns)
    known = _standardised(bare, normalisation)
    architecture = {
        "features": len(known.layout.targets),
        "context": sum(c.chain.width for c in known.layout.conditions),
        "transforms": transforms,
        "hidden_features": tuple(hidden_features),
        "bins": bins,
        "passes": passes,
    }
    try:
        plan = compile_zuko(state, **architecture)  # type: ignore[arg-type]
    except CompileError as error:
        msg = f"{weights}: {error}"
        raise ForeignModelError(msg) from error
    return pack(
        plan,
        known,
        weights,
        library="zuko",
        name=name,
        provenance={"architecture": architecture, "normalisation": normalisation.name},
        era=era,
        seed_system="CaioDaumann/Flows_for_sim_correction",
    )


def photon_columns(hoe_shift: float | None = None) -> Columns:
    """Columns of the photon corrections of Run 3, before their standardisation.

    Raises: ForeignModelError for a shift that is none.
    """
    moved = positive(hoe_shift, "shift of H/E")

    def zeros(name: str, shift: float | None) -> tuple[Transform, ...]:
        if shift is None:
            return ()
        chosen = moved if name == "hoe" and moved is not None else shift
        return ZeroPeak(chosen), Log(1.0, OFFSET)

    targets = tuple(
        TargetColumn(name, unit, zeros(name, shift)) for name, (unit, shift) in VARIABLES.items()
    )
    conditions = [ConditionColumn(name, unit) for name, unit in CONDITIONS.items()]
    domain = ConditionColumn(DOMAIN, "1")
    layout = ObjectLayout("photon", "Photon", "Photon", (*conditions, domain), targets=targets)
    return Columns(layout, {DOMAIN: Range(0.0, 1.0)}, {DOMAIN: "0 simulation, 1 data"})


def _standardised(columns: Columns, folder: Path) -> Columns:
    """Add the standardisation behind the transforms of every column but the domain's."""
    both = [folder / name for name in SECOND_STEP]
    if any(path.exists() for path in both):
        msg = (
            f"{folder}: holds {[p.name for p in both if p.exists()]}, so a second step maps some "
            f"variables to [-5, 5]; write all transforms into a file of columns and give a folder "
            f"without these"
        )
        raise ForeignModelError(msg)
    layout = columns.layout
    named = [c for c in layout.conditions if c.name != DOMAIN]
    sizes = dict(zip(FILES, [len(layout.targets)] * 2 + [len(named)] * 2))
    arrays = {n: read_array(folder / f"{n}.npy", size) for n, size in sizes.items()}
    targets = [
        dataclasses.replace(t, transforms=(*t.transforms, step))
        for t, step in zip(layout.targets, _steps(arrays, "input", folder))
    ]
    steps = dict(zip([c.name for c in named], _steps(arrays, "conditions", folder)))
    conditions = [
        dataclasses.replace(c, transforms=(*c.transforms, steps[c.name])) if c.name in steps else c
        for c in layout.conditions
    ]
    complete = dataclasses.replace(layout, targets=tuple(targets), conditions=tuple(conditions))
    return dataclasses.replace(columns, layout=complete)


def _steps(arrays: dict[str, NDArray[np.float64]], kind: str, folder: Path) -> list[Standardise]:
    means, widths = arrays[f"{kind}_means"], arrays[f"{kind}_std"]
    if not (widths > 0).all():
        msg = f"{folder / kind}_std.npy: widths are positive, found {widths.min()}"
        raise ForeignModelError(msg)
    return [Standardise(float(mean), float(width)) for mean, width in zip(means, widths)]

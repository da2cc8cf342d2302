"""Photon times of the EIC's timing work: state dicts of normflows, with what they leave unsaid.

Source: RowanKell/work_eic. A ``.pth`` holds weights alone. Which point of the bar ``z`` means, in
what units, normalised or not, over which range: all of it differs between trainings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from flows.bundle import Bundle
from flows.card import Range
from flows.engine.compile_normflows import TAIL_BOUND, compile_normflows, sizes_of_name
from flows.engine.weights import CompileError
from flows.features import Affine
from flows.importers.columns import Columns, read_columns
from flows.importers.packing import pack
from flows.importers.source import ForeignModelError, positive, read_checkpoint, state_of
from flows.layout import ConditionColumn, ObjectLayout, TargetColumn

__all__ = ["Normalisation", "import_normflows", "timing_columns"]

Normalisation = Literal["raw", "2025"]
"""``raw`` of 2024: nothing is scaled; ``2025``: z / 1500 + 0.5, θ / 180, p / 10, t / 25."""
RANGES = {"z": Range(-735.0, 770.0), "theta": Range(0.0, 180.0), "p": Range(0.1, 10.0)}
"""Cuts of work_eic's preprocessing: along the bar in mm, in degrees, in GeV."""


def import_normflows(
    weights: Path,
    *,
    lever_arm: float | None = None,
    normalisation: Normalisation = "raw",
    thickness: float | None = None,
    decay_time: float | None = None,
    columns: Path | None = None,
    tail_bound: float = TAIL_BOUND,
    name: str | None = None,
    era: str = "unspecified",
) -> Bundle:
    """Make a bundle of a state dict of normflows.

    Arguments:
        weights: ``.pth``; hyper-parameters in its name are compared with the shapes.
        lever_arm: mm between the muon's vertex and the point whose ``z`` is the condition.
        normalisation: How conditions and times were scaled.
        thickness: Of the bar in mm, if known.
        decay_time: Of the scintillator in ns, if known.
        columns: File of columns, for a flow of anything else; then without the four above.
        tail_bound: Half-width of the box of the splines.
        name: Of the model; default: the file's.
        era: Campaign of the training data.
    Raises: ForeignModelError if something is missing or does not fit.
    """
    content = read_checkpoint(weights)
    state = state_of(content, weights)
    try:
        plan = compile_normflows(state, sizes_of_name(weights.name), tail_bound)
    except CompileError as error:
        msg = f"{weights}: {error}"
        raise ForeignModelError(msg) from error
    if columns is not None:
        told = (lever_arm, thickness, decay_time) != (None, None, None) or normalisation != "raw"
        if told:
            msg = (
                f"{columns}: beside a file of columns, lever arm, normalisation, thickness and "
                f"decay time have no effect; write them into its transforms and definitions"
            )
            raise ForeignModelError(msg)
        known = read_columns(columns)
    else:
        known = timing_columns(_needed(lever_arm, weights), normalisation, thickness, decay_time)
    return pack(
        plan,
        known,
        weights,
        library="normflows",
        name=name,
        provenance={"tail_bound": tail_bound},
        era=era,
        seed_system="RowanKell/work_eic",
    )


def timing_columns(
    lever_arm: float,
    normalisation: Normalisation = "raw",
    thickness: float | None = None,
    decay_time: float | None = None,
) -> Columns:
    """Columns of photon times: (z, θ, p) of a muon that enters a bar to time behind its entrance.

    Raises: ForeignModelError for an unknown normalisation or lengths and times that are none.
    """
    if normalisation not in ("raw", "2025"):
        msg = f"normalisation {normalisation!r} is unknown; known are raw and 2025"
        raise ForeignModelError(msg)
    scaled = normalisation == "2025"

    def scale(factor: float, offset: float = 0.0) -> tuple[Affine, ...]:
        return (Affine(factor, offset),) if scaled else ()

    layout = ObjectLayout(
        object="photon time",
        collection="PhotonTime",
        source="BarHit",
        conditions=(
            ConditionColumn("z", "mm", scale(1 / 1500, 0.5)),
            ConditionColumn("theta", "deg", scale(1 / 180)),
            ConditionColumn("p", "GeV", scale(1 / 10)),
        ),
        targets=(TargetColumn("time", "ns", scale(1 / 25)),),
    )
    definitions: dict[str, Any] = {
        "z": "along the bar: z of the muon's vertex + lever arm · cot(theta)",
        "theta": "polar angle of the muon at its vertex",
        "p": "momentum of the muon at its vertex",
        "time": "of a photon at the sensor at high z, after the muon entered the bar",
        "lever_arm_mm": float(lever_arm),
    }
    for key, value in (
        ("thickness_mm", positive(thickness, "thickness")),
        ("decay_time_ns", positive(decay_time, "decay time")),
    ):
        if value is not None:
            definitions[key] = float(value)
    return Columns(layout, RANGES, definitions)


def _needed(lever_arm: float | None, weights: Path) -> float:
    if lever_arm is None:
        msg = (
            f"{weights}: which z the flow was trained with is not in the file, and a wrong one "
            f"shows at grazing angles alone. Give the lever arm: 1 mm for models before 6 August "
            f"2024, 6 mm from then on"
        )
        raise ForeignModelError(msg)
    if not 0 <= lever_arm < 1000:
        msg = (
            f"{weights}: the lever arm must lie between 0 and 1000 mm, found {lever_arm}; "
            "work_eic's are 1 and 6"
        )
        raise ForeignModelError(msg)
    return lever_arm

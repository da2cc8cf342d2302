"""Training of the model of photon times: its columns, how it is fitted, how it is judged."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.bundle import Bundle
from flows.features import Affine, AfterLight, Arsinh, Log, Logit, Standardise
from flows.flow_training import NETWORKS, FlowSettings, FlowTable, train_flow
from flows.layout import ConditionColumn, ObjectLayout, TargetColumn
from flows.optimise import Progress, Recipe
from flows.resident import resident
from flows.tables import COMMON_SEED, held_back
from processors.errors import ConfigurationError
from processors.timing.agreement import agreement
from processors.timing.conditions import (
    CONTEXT,
    EXIT,
    FURTHER,
    SPREAD,
    UNITS,
    conditions,
    conditions_of,
)
from processors.timing.definitions import LEVER_ARM, carried, refuse_other_bars
from processors.timing.photons import Photons
from processors.timing.tables import PhotonTable, load_photons
from processors.timing.tensors import load_tensors
from processors.trainables import refuse_told

__all__ = ["PHOTON_TRAINING", "HALVES", "PhotonTraining", "photon_layout"]

logger = logging.getLogger(__name__)

HALVES = ("first", "second")
"""Parts of the muons, each about one half, that a choice may name."""
RESOLUTION = 0.02
"""ns within which the arsinh is linear: far below a sensor's resolution of 0.1 ns; chosen."""
BEHIND_SENSOR = 10.0
"""mm added to the distance from the sensor before its logarithm, as in the yield formula."""
GENTLE = Recipe(epochs=100, batch=16, lr=2e-5, patience=20)
"""Fine-tuning: networks of work_eic see lengths in mm, which larger steps than its own break."""
NUMBERS, STEPS_PER_EPOCH = Recipe(epochs=100, batch=512, lr=3e-3, patience=100), 20
"""Training of the numbers; smaller tables have smaller batches, for about so many steps; chosen."""
SMALLEST_BATCH = 8
"""Rows of a step, however small the table; chosen."""
FEW_MUONS, VALIDATION_OF_FEW = 2000, 0.25
"""Below so many muons a larger share decides which weights are best; chosen."""


TABLES, TENSORS = ".npz", ".pt"
"""Ends of the names of tables that `photons` wrote, of work_eic's."""


def photon_layout(
    definitions: Mapping[str, Any], names: Sequence[str] = (*CONTEXT, *FURTHER)
) -> ObjectLayout:
    """Columns of photon times: what is known of a muon to times behind its first light.

    Arguments:
        definitions: Of the tables: lever arm, gap, thickness, ends of the bar.
        names: Conditions, see :func:`processors.timing.conditions.conditions`.
    """
    after_light = AfterLight(
        depth=definitions["lever_arm_mm"] - definitions["gap_mm"],
        thickness=definitions["thickness_mm"],
        low=definitions["bar_low_mm"],
        high=definitions["bar_high_mm"],
    )
    distance = Log(scale=-1.0, offset=definitions["bar_high_mm"] + BEHIND_SENSOR, floor=1.0)
    columns = (
        ConditionColumn("z", UNITS["z"], (distance, Standardise())),
        ConditionColumn("theta", UNITS["theta"], (Affine(1 / 180), Logit(1e-4), Standardise())),
        ConditionColumn("p", UNITS["p"], (Log(), Standardise())),
        ConditionColumn(EXIT, UNITS[EXIT], (distance, Standardise())),
        ConditionColumn(SPREAD, UNITS[SPREAD], (Arsinh(RESOLUTION), Standardise())),
    )
    return ObjectLayout(
        object="photon time",
        collection="PhotonTime",
        source="BarHit",
        conditions=tuple(column for column in columns if column.name in names),
        targets=(TargetColumn("time", "ns", (after_light, Arsinh(RESOLUTION), Standardise())),),
    )


class Table:
    """Photons, and what they mean."""

    def __init__(self, definitions: Mapping[str, Any], photons: PhotonTable) -> None:
        self.definitions, self.photons = dict(definitions), photons


class PhotonTraining:
    """See :class:`processors.trainables.Trainable`."""

    name = "photon"
    networks = NETWORKS
    endings = (TABLES, TENSORS)

    def extraction(self, options: Mapping[str, Any]) -> Photons:
        """Tables of simulated muons."""
        instead = "set the key 'lever_arm' with --config"
        refuse_told(options, ("lever_arm",), "events", instead)
        refuse_told(options, ("order",), "events")
        return Photons.from_options(options)

    def load(self, paths: Sequence[str], reading: Mapping[str, Any]) -> Table:
        """Tables of `photons`, or tensors of work_eic with the order of their columns told.

        Arguments:
            reading: ``order`` and ``lever_arm`` of tensors; ``muons``, one of :data:`HALVES`.
        Raises: ValueError where a file is neither, or does not go with the others.
        """
        kinds = {_ending(path) for path in paths}
        if kinds == {TABLES, TENSORS}:
            message = f"tables ({TABLES}) and tensors ({TENSORS}) together are not read; name one"
            raise ConfigurationError(message)
        if kinds == {TENSORS}:
            definitions, photons = load_tensors(paths, reading["order"], reading["lever_arm"])
        else:
            refuse_told(reading, ("order", "lever_arm"), "tables that say what they hold")
            definitions, photons = load_photons(paths)
        half = reading.get("muons")
        if half is not None:
            second = held_back(photons.muon, 0.5, COMMON_SEED)
            photons = photons.take(second == bool(HALVES.index(half)))
        return Table(definitions, photons)

    def hold_out(self, table: Table, share: float, seed: int) -> tuple[Table, Table]:
        """Whole muons, both sensors."""
        held = held_back(table.photons.muon, share, seed + 1)  # unlike the split of validation
        seen, unseen = (table.photons.take(chosen) for chosen in (~held, held))
        return Table(table.definitions, seen), Table(table.definitions, unseen)

    def size(self, table: Table) -> tuple[int, str]:
        """Photons."""
        photons = table.photons
        muons, seen = len(np.unique(photons.muon)), int(photons.number.sum())
        kept = "" if seen == len(photons.time) else f", {len(photons.time):,} of them kept"
        return len(photons.time), f"{muons:,} muons, {seen:,} photons{kept}"

    def train(
        self,
        table: Table,
        run: Mapping[str, Any],
        recipe: Mapping[str, Any],
        progress: Callable[[Progress], None],
        start_from: Bundle | None,
    ) -> Bundle:
        """Fit the times, and the numbers of photons where the energies are known."""
        photons, definitions = table.photons, table.definitions
        layout = photon_layout(table.definitions)
        numbers = _recipe_of_numbers(int(_known(photons).sum()))
        settings = FlowSettings(**run, numbers=numbers, seed_system="RowanKell/work_eic")
        if len(np.unique(photons.muon)) < FEW_MUONS:
            settings = dataclasses.replace(settings, validation=VALIDATION_OF_FEW)
        if start_from is not None:
            definitions = dict(start_from.card.spec.get("definitions", {}))
            _require_lever_arm(definitions, start_from)
            refuse_other_bars(table.definitions, start_from.card)
            photons = carried(photons, table.definitions, definitions)
            layout = photon_layout(table.definitions, start_from.card.layout.condition_names)
            settings = dataclasses.replace(settings, flow=GENTLE)
        flow = dataclasses.replace(settings.flow, **recipe)
        settings = dataclasses.replace(settings, flow=flow)
        return train_flow(
            _flow_table(photons, conditions(photons.contexts, layout.condition_names, definitions)),
            layout,
            settings,
            definitions=_told(definitions, layout),
            progress=progress,
            start_from=start_from,
        )

    def evaluate(self, bundle: Bundle, table: Table, seed: int) -> dict[str, Any]:
        """Distances of the times, muon by muon too; numbers of photons over their means."""
        model = resident(bundle, device="cpu")
        rows = agreement(model, table.photons, table.definitions, seed)
        closure = [
            {
                "variable": f"time, {row.what}",
                "ks": row.ks,
                "ks_floor": row.ks_floor,
                "w1": row.w1_relative,
                "w1_floor": row.w1_floor,
            }
            for row in rows
        ]
        metrics = {
            "closure": closure,
            "ks_per_muon": rows[0].ks_per_muon,
            "ks_per_muon_error": rows[0].ks_per_muon_error,
            "ks_per_muon_chance": rows[0].ks_per_muon_chance,
            "held_out_photons": rows[0].photons,
        }
        known = _known(table.photons)
        if model.counts_samples and known.any():
            trained = model.card.spec["definitions"]
            photons = carried(table.photons.take(known), table.definitions, trained)
            metrics |= _numbers(model, photons)
        return metrics

    def verdict(self, metrics: Mapping[str, Any]) -> str:
        """Muon by muon; numbers where they are known."""
        ratio = metrics["ks_per_muon"]
        told = "no muon with 20 photons" if ratio is None else f"KS per muon {ratio:.2f}"
        if metrics["ks_per_muon_error"] is not None:
            told += f" ± {metrics['ks_per_muon_error']:.2f}"
        if ratio is not None:
            told += f", by chance {metrics['ks_per_muon_chance']:.2f},"
        told += f" on {metrics['held_out_photons']:,} held-out photons"
        if "numbers_over_mean" in metrics:
            over, spread = metrics["numbers_over_mean"], metrics["numbers_spread"]
            told += f"; photons over their mean {over:.4f}, spread over Poisson's {spread:.2f}"
        return told


def _ending(path: str) -> str:
    """Which of the two kinds of tables a file is by its name.

    Raises: ConfigurationError where it is neither.
    """
    ending = Path(path).suffix
    if ending not in (TABLES, TENSORS) or Path(path).is_dir():
        what = "a directory" if Path(path).is_dir() else "no table by its name"
        message = (
            f"{path} is {what}; name tables of the processor 'photons' ({TABLES}) or tensors of "
            f"RowanKell/work_eic ({TENSORS})"
        )
        raise ConfigurationError(message)
    return ending


def _recipe_of_numbers(rows: int) -> Recipe:
    """Recipe of a table of so many rows: an epoch has about twenty steps or more.

    Example:
        >>> [_recipe_of_numbers(rows).batch for rows in (10, 1_000, 300_000)]
        [8, 50, 512]
    """
    batch = min(max(rows // STEPS_PER_EPOCH, SMALLEST_BATCH), NUMBERS.batch)
    return dataclasses.replace(NUMBERS, batch=batch)


def _known(photons: PhotonTable) -> np.ndarray:
    """Rows ``(n,)`` whose energy in the bar can be the exposure of their numbers."""
    energy = photons.energy
    known: np.ndarray = np.isfinite(energy) & (energy > 0)
    return known


def _flow_table(photons: PhotonTable, given: np.ndarray) -> FlowTable:
    """Photons as flows are trained on them; numbers are learnt from rows with an energy.

    Arguments:
        photons: Rows.
        given: Their conditions, ``(n, C)``.
    """
    known = _known(photons)
    unknown, some = int((~known).sum()), bool(known.any())
    if unknown:
        logger.warning(
            "numbers of photons are %s: %d of %d rows have no positive energy in the bar",
            "learnt without some muons" if some else "not learnt",
            unknown,
            len(known),
        )
    energy = np.where(known, photons.energy, np.nan).astype(np.float64)
    return FlowTable(
        conditions=given.astype(np.float32),
        counts=photons.kept.astype(np.int64),
        targets=photons.time[:, None],
        groups=photons.muon,
        numbers=photons.number.astype(np.int64) if some else None,
        exposure=energy if some else None,
    )


def _told(definitions: Mapping[str, Any], layout: ObjectLayout) -> dict[str, Any]:
    words = {
        "z": "along the bar: z of the muon's vertex + lever arm · cot(theta)",
        "theta": "polar angle of the muon at its vertex",
        "p": "momentum of the muon at its vertex",
        EXIT: "z where a straight muon leaves the bar",
        SPREAD: "time of first light from the exit, after that from the entrance",
        "time": "of a photon at the sensor at high z, after the muon entered the bar",
        "numbers": "photons at the sensor at high z per GeV that the muon leaves in the bar",
    }
    used = {*layout.condition_names, *layout.target_names, "numbers"}
    return {name: text for name, text in words.items() if name in used} | dict(definitions)


def _require_lever_arm(definitions: Mapping[str, Any], start: Bundle) -> None:
    if LEVER_ARM not in definitions:
        message = (
            f"bundle {start.card.name!r} does not say where its z lies (definition {LEVER_ARM!r}); "
            "import the weights again with --lever-arm"
        )
        raise ConfigurationError(message)


def _numbers(model: Any, photons: PhotonTable) -> dict[str, float]:
    """Photons over their mean; their spread over that of Poisson's distribution, 1 if it is one."""
    given = conditions_of(model.card, photons.contexts)
    mean = model.mean_numbers(given).per_exposure * photons.energy
    return {
        "numbers_over_mean": float(photons.number.sum() / mean.sum()),
        "numbers_spread": float(np.sqrt(np.mean((photons.number - mean) ** 2 / mean))),
    }


PHOTON_TRAINING = PhotonTraining()

"""Training tables: photons of muons that were shot at a bar, sensor by sensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from processors.base import FlowProcessor, Result
from processors.blocks import blocks, direct_reads
from processors.config import ProcessorConfig
from processors.counters import Counters
from processors.folders import dataset_folder
from processors.jagged import event_index
from processors.timing.config import PhotonsConfig
from processors.timing.reading import OPTICAL, Detector, read_detector, require_detector
from processors.timing.schema import DetectorSchema
from processors.timing.tables import PhotonTable, join, save_photons

__all__ = ["CUTS", "LIGHT_SPEED", "Photons", "definitions_of", "photon_rows"]

POSITION = ("position.x", "position.z")
LIGHT_SPEED = 299.792458
"""mm/ns."""
CUTS = (
    "without_particles",
    "several_particles",
    "without_photons",
    "not_finite",
    "z",
    "hit_time",
    "momentum",
)
"""Why an event gives no rows, in the order in which they are looked at."""


class Photons(FlowProcessor):
    """Writes one compressed table per chunk.

    Output files: ``tables/<dataset>/photon_<fileuuid>_<start>-<stop>.npz``. They hold units, lever
    arm and geometry: what a model of these photons must say in its card.
    """

    name: ClassVar[str] = "photons"
    summary: ClassVar[str] = "training tables of photon times from simulated muons in a bar"
    Config: ClassVar[type[ProcessorConfig]] = PhotonsConfig
    tree: ClassVar[str] = "events"
    event_columns: ClassVar[tuple[str, ...]] = ()
    schema: ClassVar[type[DetectorSchema]] = DetectorSchema
    config: PhotonsConfig

    def process(self, events: Any) -> Result:
        """Extract one chunk.

        Raises: MissingBranchError, InputError when the chunk cannot serve.
        """
        dataset, config = events.metadata["dataset"], self.config
        counters = Counters(dict.fromkeys(("events.read", "events.written"), 0))
        counters.update(dict.fromkeys((f"events.cut.{name}" for name in CUTS), 0))
        require_detector(events, config.hits)
        parts: list[PhotonTable] = []
        with direct_reads(events):
            for block in blocks(events, config.block_events, (f"{config.hits}.time",)):
                with counters.stage("read"):
                    found = read_detector(block.events, config.hits, counters)
                with counters.stage("select"):
                    parts.append(photon_rows(found, config, counters))
                counters["events.read"] += len(found.hits.counts)
        outputs = (
            [] if config.output is None or not parts else [self._write(parts, events.metadata)]
        )
        return {dataset: {"hists": {}, "counters": dict(counters), "outputs": outputs}}

    def _write(self, parts: list[PhotonTable], place: Mapping[str, Any]) -> str:
        folder = Path(str(self.config.output)) / "tables" / dataset_folder(place["dataset"])
        path = folder / (
            f"photon_{place['fileuuid']}_{place['entrystart']}-{place['entrystop']}.npz"
        )
        save_photons(path, definitions_of(self.config), join(parts))
        return str(path)


def definitions_of(config: PhotonsConfig) -> dict[str, float]:
    """What a photon of this configuration means."""
    lengths = ("lever_arm", "gap", "entrance", "thickness", "bar_low", "bar_high")
    told = {f"{name}_mm": float(getattr(config, name)) for name in lengths}
    return told if config.decay_time is None else told | {"decay_time_ns": config.decay_time}


def photon_rows(found: Detector, config: PhotonsConfig, counters: Counters) -> PhotonTable:
    """Rows of the sensors of a block, cut and counted; two per event, low end first.

    Arguments:
        found: Particles and hits; the first particle of an event is the muon.
        config: Geometry and cuts.
        counters: ``events.cut.*``, ``photons.*`` are added to.
    """
    hits = found.hits
    optical = hits["pdg"] == OPTICAL
    muons = _muons(found, config)
    counts = np.bincount(hits.event[optical], minlength=len(hits.counts))
    good = _cut(found, muons, counts, config, counters)
    counters["photons.in"] += int(optical.sum())
    depth = hits["position.x"] - config.entrance
    inside = (depth >= 0) & (depth <= config.thickness)
    passed = optical & good[hits.event]
    finite = np.logical_and.reduce([np.isfinite(hits[n]) for n in ("time", *POSITION)])
    counters["photons.not_finite"] += int((passed & ~finite).sum())
    counters["photons.other_bar"] += int((passed & finite & ~inside).sum())
    seen = np.flatnonzero(passed & finite & inside)
    time = hits["time"][seen].astype(np.float64)
    early = time < config.max_time
    counters["photons.too_late"] += int((~early).sum())
    seen, time = seen[early], time[early]
    high = hits["position.z"][seen] > 0.5 * (config.bar_low + config.bar_high)
    row = 2 * hits.event[seen] + high
    number = np.bincount(row, minlength=2 * len(counts))
    order = np.argsort(row, kind="stable")
    delays = time[order] - muons["hit_time"][hits.event[seen[order]]]
    both = {name: np.repeat(values, 2) for name, values in muons.items()}
    both["z"][::2] = config.bar_low + config.bar_high - both["z"][::2]
    both["theta"][::2] = 180.0 - both["theta"][::2]
    columns = {name: values.astype(np.float32) for name, values in both.items()}
    energy = np.repeat(_energy(found, inside), 2).astype(np.float32)
    muon = np.repeat(found.ids.event, 2)
    complete = PhotonTable(
        **columns,
        energy=energy,
        number=number,
        kept=number.copy(),
        muon=muon,
        time=delays.astype(np.float32),
    ).take(np.repeat(good, 2))
    table = complete.thinned(config.most_photons)
    counters["photons.out"] += len(table.time)
    counters["photons.thinned"] += len(complete.time) - len(table.time)
    return table


def _energy(found: Detector, inside: np.ndarray) -> np.ndarray:
    """Energy that an event left in the first bar ``(n_events,)``, NaN where the file has none."""
    hits = found.hits
    deposits = inside & (hits["pdg"] != OPTICAL)
    weights = hits["EDep"][deposits].astype(np.float64)
    total = np.bincount(hits.event[deposits], weights=weights, minlength=len(hits.counts))
    return np.where(total > 0, total, np.nan)


def _muons(found: Detector, config: PhotonsConfig) -> dict[str, np.ndarray]:
    """First particle of every event ``(n_events,)``, NaN where an event has none."""
    particles = found.particles
    some = particles.counts > 0
    first = particles.offsets[:-1][some]

    def of(name: str) -> np.ndarray:
        values = np.full(len(some), np.nan)
        values[some] = particles[name][first]
        return values

    px, py, pz = (of(f"momentum.{axis}") for axis in "xyz")
    p = np.sqrt(px**2 + py**2 + pz**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        transverse = np.hypot(px, py)
        theta = np.degrees(np.arctan2(transverse, pz))
        z = of("vertex.z") + config.lever_arm * pz / transverse
        speed = LIGHT_SPEED * px / np.hypot(p, of("mass"))
        hit_time = (config.entrance - of("vertex.x")) / speed
    return {"z": z, "theta": theta, "p": p, "hit_time": hit_time}


def _cut(
    found: Detector,
    muons: Mapping[str, np.ndarray],
    photons: np.ndarray,
    config: PhotonsConfig,
    counters: Counters,
) -> np.ndarray:
    """Events that pass ``(n_events,)``; each of the others counts once, for its first reason."""
    counts = found.particles.counts
    several = np.zeros(len(counts), dtype=bool)
    if found.status is not None:
        several = np.bincount(event_index(counts)[found.status == 1], minlength=len(counts)) > 1
    finite = np.logical_and.reduce([np.isfinite(values) for values in muons.values()])
    fails = {
        "without_particles": counts == 0,
        "several_particles": several,
        "without_photons": photons == 0,
        "not_finite": ~finite,
        "z": ~((muons["z"] >= config.bar_low) & (muons["z"] <= config.bar_high)),
        "hit_time": ~((muons["hit_time"] >= 0) & (muons["hit_time"] < config.max_hit_time)),
        "momentum": ~((muons["p"] >= config.min_momentum) & (muons["p"] <= config.max_momentum)),
    }
    good = np.ones(len(counts), dtype=bool)
    for name in CUTS:
        counters[f"events.cut.{name}"] += int((good & fails[name]).sum())
        good &= ~fails[name]
    counters["events.written"] += int(good.sum())
    return good

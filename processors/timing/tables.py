"""Training tables: one row per photon of a muon that was shot at a bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from processors.base import FlowProcessor, Result
from processors.blocks import blocks, direct_reads
from processors.config import FlowConfig
from processors.counters import Counters
from processors.folders import dataset_folder
from processors.jagged import event_index
from processors.tablefile import read_npz, write_npz
from processors.timing.config import PhotonsConfig
from processors.timing.reading import OPTICAL, Detector, read_detector, require_detector
from processors.timing.schema import DetectorSchema

__all__ = ["COLUMNS", "LIGHT_SPEED", "Photons", "load_photons", "photon_rows"]

FORMAT_VERSION = 1
LIGHT_SPEED = 299.792458
"""mm/ns."""
COLUMNS: Mapping[str, str] = {
    "z": "mm",
    "theta": "deg",
    "p": "GeV",
    "hit_time": "ns",
    "time": "ns",
    "muon": "1",
}
"""Columns with their units: z where the muon is ``lever_arm`` mm behind its vertex, polar angle and
momentum at the vertex, entrance into the bar after the vertex, photon at the sensor after the
entrance, digest of the event. Times at the low end are those of the mirror image."""
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

    Output files: ``tables/<dataset>/photon_<fileuuid>_<start>-<stop>.npz``. The header holds the
    units, the lever arm, the geometry: what a model of these photons must say in its card.
    """

    name: ClassVar[str] = "photons"
    summary: ClassVar[str] = "training tables of photon times from simulated muons in a bar"
    Config: ClassVar[type[FlowConfig]] = PhotonsConfig
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
        parts = []
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

    def _write(self, parts: list[dict[str, np.ndarray]], place: Mapping[str, Any]) -> str:
        folder = Path(str(self.config.output)) / "tables" / dataset_folder(place["dataset"])
        path = folder / (
            f"photon_{place['fileuuid']}_{place['entrystart']}-{place['entrystop']}.npz"
        )
        whole = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
        write_npz(path, _header(self.config), whole)
        return str(path)


def _header(config: PhotonsConfig) -> dict[str, Any]:
    geometry = ("lever_arm", "gap", "entrance", "thickness", "bar_low", "bar_high")
    return {
        "version": FORMAT_VERSION,
        "object": "photon",
        "units": dict(COLUMNS),
        "definitions": {f"{name}_mm": getattr(config, name) for name in geometry},
    }


def load_photons(paths: Iterable[str | Path]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What was said of the photons, their columns; files in order of their names.

    Raises: ValueError where there is no table, a file is none, or two define a photon otherwise.
    """
    parts, said = [], None
    for path in sorted(map(Path, paths)):
        header, arrays = read_npz(path)
        if header.get("object") != "photon" or set(arrays) != set(COLUMNS):
            message = f"{path} is no table of photons; name what the processor 'photons' wrote"
            raise ValueError(message)
        if said is not None and header != said:
            message = f"{path} defines photons otherwise than the tables before it: {header}"
            raise ValueError(message)
        said = header
        parts.append(arrays)
    if said is None:
        message = "no table of photons; extract them first with the processor 'photons'"
        raise ValueError(message)
    return said, {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def photon_rows(
    found: Detector, config: PhotonsConfig, counters: Counters
) -> dict[str, np.ndarray]:
    """Rows of the photons of a block, cut and counted.

    Arguments:
        found: Particles and hits; the first particle of an event is the muon.
        config: Geometry and cuts.
        counters: ``events.cut.*``, ``photons.*`` are added to.
    Returns: :data:`COLUMNS`, float32 but for ``muon``; photons of one event next to each other.
    """
    hits = found.hits
    optical = hits["pdg"] == OPTICAL
    muons = _muons(found, config)
    counts = np.bincount(hits.event[optical], minlength=len(hits.counts))
    good = _cut(found, muons, counts, config, counters)
    counters["photons.in"] += int(optical.sum())
    event, depth = hits.event, hits["position.x"] - config.entrance
    inside = optical & (depth >= 0) & (depth <= config.thickness)
    counters["photons.other_bar"] += int((optical & ~inside & good[event]).sum())
    rows = np.flatnonzero(inside & good[event])
    event = event[rows]
    low = hits["position.z"][rows] < 0.5 * (config.bar_low + config.bar_high)
    z, theta = muons["z"][event], muons["theta"][event]
    columns = {
        "z": np.where(low, config.bar_low + config.bar_high - z, z),
        "theta": np.where(low, 180.0 - theta, theta),
        "p": muons["p"][event],
        "hit_time": muons["hit_time"][event],
        "time": hits["time"][rows].astype(np.float64) - muons["hit_time"][event],
    }
    kept = np.isfinite(columns["time"]) & (hits["time"][rows] < config.max_time)
    counters["photons.too_late"] += int((~kept).sum())
    counters["photons.out"] += int(kept.sum())
    result = {name: values[kept].astype(np.float32) for name, values in columns.items()}
    return result | {"muon": found.ids.event[event][kept]}


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

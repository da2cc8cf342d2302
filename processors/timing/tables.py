"""Photons at the sensors of single muons: one row per muon and sensor, the times of its photons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from processors.tablefile import read_npz, write_npz

__all__ = [
    "PHOTONS",
    "SENSORS",
    "PhotonTable",
    "join",
    "load_photons",
    "refuse_repeated",
    "save_photons",
]

FORMAT_VERSION = 2
OBJECT = "photon"
SENSORS: Mapping[str, str] = {
    "z": "mm",
    "theta": "deg",
    "p": "GeV",
    "hit_time": "ns",
    "energy": "GeV",
    "number": "1",
    "kept": "1",
    "muon": "1",
}
"""Columns of a row with their units: z where the muon is ``lever_arm`` mm behind its vertex, polar
angle and momentum at the vertex, entrance into the bar after the vertex, energy that all particles
of the event left in the bar (NaN where nobody knows), photons at the sensor, photons of them in the
table, digest of the event. The sensor at low z has the mirror image of z and angle."""
PHOTONS: Mapping[str, str] = {"time": "ns"}
"""Columns of a photon: at the sensor after the entrance."""
CONTEXT = ("z", "theta", "p")
NEEDED = ("lever_arm_mm", "gap_mm", "thickness_mm", "bar_low_mm", "bar_high_mm")
"""Definitions without which nobody knows what z means and where the sensors are."""


class PhotonTable(NamedTuple):
    """:data:`SENSORS` ``(n,)`` and :data:`PHOTONS` ``(kept.sum(),)``, photons in order of rows."""

    z: np.ndarray
    theta: np.ndarray
    p: np.ndarray
    hit_time: np.ndarray
    energy: np.ndarray
    number: np.ndarray
    kept: np.ndarray
    muon: np.ndarray
    time: np.ndarray

    @property
    def contexts(self) -> np.ndarray:
        """z, θ, p of every row ``(n, 3)``, float64."""
        return np.stack([getattr(self, name) for name in CONTEXT], axis=1).astype(np.float64)

    def take(self, chosen: np.ndarray) -> PhotonTable:
        """Rows ``(n,)`` with their photons."""
        rows = {name: getattr(self, name)[chosen] for name in SENSORS}
        return PhotonTable(**rows, time=self.time[np.repeat(chosen, self.kept)])

    def thinned(self, most: int) -> PhotonTable:
        """At most so many photons per row, evenly spread over those it has."""
        kept = np.minimum(self.kept, most)
        start = np.cumsum(self.kept) - self.kept
        place = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
        share = (2 * place + 1) * np.repeat(self.kept, kept) // (2 * np.repeat(kept, kept))
        return self._replace(kept=kept, time=self.time[np.repeat(start, kept) + share])


def join(parts: Iterable[PhotonTable]) -> PhotonTable:
    """Rows of one table after those of the other."""
    return PhotonTable(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def save_photons(path: Path, definitions: Mapping[str, Any], table: PhotonTable) -> None:
    """Write a table, npz without pickle.

    Arguments:
        path: File; its folder is made.
        definitions: Lever arm and geometry, as they stand in the card of a model of these photons.
        table: What to write.
    """
    units = {"sensors": dict(SENSORS), "photons": dict(PHOTONS)}
    header = {"version": FORMAT_VERSION, "object": OBJECT, "units": units}
    write_npz(path, header | {"definitions": dict(definitions)}, table._asdict())


def load_photons(paths: Iterable[str | Path]) -> tuple[dict[str, Any], PhotonTable]:
    """Definitions of photons, and all their tables, files in order of their names.

    Raises: ValueError where there is no table, a file is none or does not hold together, two
        define a photon otherwise, or two hold photons of the same muons.
    """
    parts: dict[Path, PhotonTable] = {}
    said: dict[str, Any] | None = None
    files = sorted(map(Path, paths))
    refuse_repeated(files)
    for path in files:
        header, parts[path] = _read(path)
        if said is not None and header != said:
            message = (
                f"{path} defines photons otherwise than the tables before it: "
                f"{header['definitions']}, before {said['definitions']}"
            )
            raise ValueError(message)
        said = header
    if said is None:
        message = "no table of photons; extract them first with the processor 'photons'"
        raise ValueError(message)
    _refuse_shared_muons({path: np.unique(table.muon) for path, table in parts.items()})
    return dict(said["definitions"]), join(parts.values())


def refuse_repeated(files: Sequence[Path]) -> None:
    """Refuse a file that is named twice.

    Raises: ValueError naming it.
    """
    for file, number in Counter(map(Path.absolute, files)).items():
        if number > 1:
            message = f"{file} is named {number} times: its photons would count as often"
            raise ValueError(message)


def _refuse_shared_muons(muons: Mapping[Path, np.ndarray]) -> None:
    """Refuse tables of which two hold the same events.

    Arguments:
        muons: Of each file, every one once.
    Raises: ValueError naming both.
    """
    files = list(muons)
    owner = np.repeat(np.arange(len(files)), [len(one) for one in muons.values()])
    every = np.concatenate(list(muons.values()))
    order = np.argsort(every, kind="stable")
    again = np.flatnonzero(every[order][1:] == every[order][:-1])
    if len(again):
        first, second = (files[owner[order[again[0] + one]]] for one in (0, 1))
        message = (
            f"{second} holds muons that are in {first} too, {len(again):,} are in more than one "
            "table: their photons would count twice; name one table, or file of events, of them"
        )
        raise ValueError(message)


def _read(path: Path) -> tuple[dict[str, Any], PhotonTable]:
    """Header and rows of one file.

    Raises: ValueError where it is no table, or does not hold together.
    """
    try:
        header, arrays = read_npz(path)
    except (OSError, ValueError) as error:
        why = (error.strerror or "?") if isinstance(error, OSError) else "no npz of plain arrays"
        message = (
            f"{path} cannot be read as a table ({why}); name files that the processor 'photons' "
            "wrote"
        )
        raise ValueError(message) from error
    found = header.get("object"), header.get("version"), set(arrays)
    if found != (OBJECT, FORMAT_VERSION, {*SENSORS, *PHOTONS}):
        message = (
            f"{path} is not a table of photons of version {FORMAT_VERSION}; name files that "
            "the processor 'photons' wrote"
        )
        raise ValueError(message)
    table = PhotonTable(**arrays)
    broken = _broken_definitions(header.get("definitions")) or _broken_rows(table)
    if broken:
        message = f"{path} is no sound table: {broken}; extract it again"
        raise ValueError(message)
    return header, table


def _broken_definitions(found: Any) -> str | None:
    """What is wrong with the definitions of a table, ``None`` if nothing is."""
    if not isinstance(found, Mapping):
        return "it has no definitions"
    numbers = {name: found.get(name) for name in NEEDED}
    wrong = [f"{n} {v}" for n, v in numbers.items() if not _is_finite_number(v)]
    return f"its definitions need finite numbers, found {', '.join(wrong)}" if wrong else None


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _broken_rows(table: PhotonTable) -> str | None:
    """What is wrong with the columns of a table, ``None`` if nothing is."""
    shapes = {name: getattr(table, name).shape for name in SENSORS}
    if any(shape != (len(table.z),) for shape in shapes.values()):
        return f"its columns of sensors have shapes {shapes}, not one length"
    number, kept = table.number, table.kept
    if {number.dtype.kind, kept.dtype.kind} - {"i", "u"} or (kept < 0).any():
        return "numbers of photons are not whole or below 0"
    if table.time.shape != (kept.sum(),):
        return f"it holds times of shape {table.time.shape}, kept says {kept.sum()} photons"
    if (kept > number).any():
        return f"{int((kept > number).sum())} rows keep more photons than the sensor saw"
    finite = {name: np.isfinite(getattr(table, name)).all() for name in (*CONTEXT, *PHOTONS)}
    wrong = [name for name, good in finite.items() if not good]
    return f"{', '.join(wrong)} hold values that are not finite" if wrong else None

"""Pythia 8 collisions at 13 TeV as flat arrays, one batch at a time."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import awkward as ak
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MINIMUM_BIAS", "PROCESSES", "EventRecord", "collide", "pythia"]

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "Tune:pp = 18",  # CUETP8M1, CMS (arXiv:1512.00815), NNPDF2.3 LO
    # What CMS asks of Pythia in every sample: Configuration/Generator Pythia8CommonSettings.
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10",
    "Check:epTolErr = 0.01",
    "Next:numberCount = 0",
)
"""Settings of every process; K0S and the strange baryons stay stable, as CMS leaves them."""

PROCESSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ttbar": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "6:m0 = 172.5"),
        "zmumu": (
            "WeakSingleBoson:ffbar2gmZ = on",
            "PhaseSpace:mHatMin = 50.",
            "23:onMode = off",
            "23:onIfAny = 13",
        ),
        # Falling spectrum drawn flat, pTHat from 15 GeV: the weight undoes (pTHat / 15 GeV)^4.
        "qcd": (
            "HardQCD:all = on",
            "PhaseSpace:pTHatMin = 15.",
            "PhaseSpace:bias2Selection = on",
            "PhaseSpace:bias2SelectionPow = 4.",
            "PhaseSpace:bias2SelectionRef = 15.",
        ),
        # Dipole recoil keeps the third jet out of the rapidity gap (arXiv:1710.00391).
        "vbf_hmumu": (
            "HiggsSM:ff2Hff(t:ZZ) = on",
            "HiggsSM:ff2Hff(t:WW) = on",
            "SpaceShower:dipoleRecoil = on",
            "25:m0 = 125.",
            "25:onMode = off",
            "25:onIfMatch = 13 -13",
        ),
    }
)
"""Name of a process and the settings that make it, beyond :data:`COMMON`."""

MINIMUM_BIAS = "minbias"
# Diffractive masses hadronise as strings alone (chosen: starts in 0.3 s, not in 5 s).
_MINIMUM_BIAS_SETTINGS = ("SoftQCD:inelastic = on", "Diffraction:mMinPert = 20000.")

_MAX_SEED = 900_000_000


class EventRecord(NamedTuple):
    """One batch of collisions; rows of event ``i`` are ``offsets[i]:offsets[i + 1]``.

    ``mother``, ``mother2``, ``daughter``, ``daughter2`` are rows of this table, -1 for none;
    hadrons from strings have mothers ``mother`` to ``mother2``. Momenta in GeV, lengths in cm.
    """

    offsets: np.ndarray
    pdg_id: np.ndarray
    status: np.ndarray
    """HepMC's: 1 stable, 2 decayed hadron, muon or tau, 4 beam, else Pythia's own, positive."""
    mother: np.ndarray
    mother2: np.ndarray
    daughter: np.ndarray
    daughter2: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    energy: np.ndarray
    mass: np.ndarray
    lxy: np.ndarray
    """Transverse distance of the production point from the collision."""
    charge: np.ndarray
    """In units of e; filled for stable particles alone, 0 elsewhere."""
    info: Mapping[str, np.ndarray]
    """Per event: weight, pthat, id1, id2, x1, x2, pdf1, pdf2, scale."""

    @property
    def events(self) -> int:
        """Number of events in the batch."""
        return len(self.offsets) - 1


@lru_cache(maxsize=4)
def pythia(process: str) -> Any:
    """Initialise Pythia for one process; kept as long as this operating-system process lives.

    Raises: ValueError for a name that is neither in :data:`PROCESSES` nor :data:`MINIMUM_BIAS`.
    """
    import pythia8mc

    known = {**PROCESSES, MINIMUM_BIAS: _MINIMUM_BIAS_SETTINGS}
    if process not in known:
        message = f"process {process!r} is unknown; choose one of {', '.join(PROCESSES)}"
        raise ValueError(message)
    generator = pythia8mc.Pythia("", False)
    for line in (*COMMON, "Random:setSeed = on", "Random:seed = 1", *known[process]):
        if not generator.readString(line):
            message = f"Pythia refuses the setting {line!r} of process {process!r}"
            raise ValueError(message)
    if not generator.init():
        message = f"Pythia could not be initialised for process {process!r}"
        raise RuntimeError(message)
    return generator


def collide(process: str, events: int, seed: np.random.SeedSequence) -> EventRecord:
    """Generate ``events`` collisions of ``process``; the same seed gives the same bytes.

    Raises: RuntimeError if Pythia gives up on the batch.
    """
    generator = pythia(process)
    generator.rndm.init(int(1 + seed.generate_state(1, np.uint64)[0] % _MAX_SEED))
    batch = generator.nextBatch(events)
    if len(batch) != events:
        message = f"Pythia made {len(batch)} of {events} events of process {process!r}"
        raise RuntimeError(message)
    return _flatten(batch, generator.particleData)


def _flatten(batch: ak.Array, particle_data: Any) -> EventRecord:
    layout = batch.layout["prt"]
    offsets = np.asarray(layout.offsets.data, dtype=np.int64)
    rows = layout.content[: offsets[-1]]
    column = {name: np.asarray(rows[name].data) for name in ("id", "status", "m")}
    momentum = {name: np.asarray(rows["p"][name].data) for name in ("px", "py", "pz", "e")}
    start = np.repeat(offsets[:-1], np.diff(offsets))
    link = {}
    for name in ("mother1", "mother2", "daughter1", "daughter2"):
        local = np.asarray(rows[name].data)
        link[name] = np.where(local > 0, local + start, -1)
    status = _hepmc_status(column["id"], column["status"], link["daughter1"])
    stable = status == 1
    charge = np.zeros(len(status), dtype=np.int8)
    ids, inverse = np.unique(column["id"][stable], return_inverse=True)
    charge[stable] = np.array([round(particle_data.charge(int(i))) for i in ids], np.int8)[inverse]
    return EventRecord(
        offsets, column["id"], status, link["mother1"], link["mother2"],
        link["daughter1"], link["daughter2"],
        momentum["px"], momentum["py"], momentum["pz"], momentum["e"], column["m"],
        _production_radius(rows["vProd"]), charge, _event_info(batch.layout["info"]),
    )  # fmt: skip


def _production_radius(vertex: ak.contents.IndexedOptionArray) -> np.ndarray:
    """Distance from the beam in cm (Pythia: mm); no vertex means the collision itself."""
    index = np.asarray(vertex.index.data)
    x, y = (np.asarray(vertex.content[name].data) for name in ("px", "py"))
    radius: np.ndarray = np.append(np.hypot(x, y) / 10.0, 0.0)[index]
    return radius


def _hepmc_status(pdg_id: np.ndarray, status: np.ndarray, daughter: np.ndarray) -> np.ndarray:
    """Translate as Pythia's own HepMC interface does (Pythia 8 manual, "HepMC interface")."""
    code: np.ndarray = np.abs(status).astype(np.int32)
    decays = status[daughter]
    decays = (np.abs(decays) > 90) & (np.abs(decays) < 95) & (pdg_id[daughter] != pdg_id)
    absolute = np.abs(pdg_id)
    may = (absolute > 100) & (daughter >= 0) | (absolute == 13) | (absolute == 15)
    code[may & decays & (daughter >= 0)] = 2
    code[status > 0] = 1
    code[status == -12] = 4
    return code


def _event_info(info: ak.contents.RecordArray) -> dict[str, np.ndarray]:
    out = {n: np.asarray(info[n].data) for n in ("id1", "id2", "x1", "x2", "pdf1", "pdf2")}
    weights = info["weights"]
    out["weight"] = np.asarray(weights.content.data)[np.asarray(weights.offsets.data)[:-1]]
    out["pthat"] = np.sqrt(np.maximum(np.asarray(info["pT2Hat"].data), 0.0))
    out["scale"] = np.sqrt(np.asarray(info["Q2Fac"].data))
    return out

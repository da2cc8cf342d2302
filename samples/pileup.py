"""Pile-up: a pool of minimum-bias collisions and the draws from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import numpy as np

from samples import genjets, truth
from samples.generator import MINIMUM_BIAS, collide

if TYPE_CHECKING:
    from samples.generator import EventRecord

__all__ = [
    "POOL_EVENTS",
    "Pool",
    "Vertices",
    "draw",
    "join",
    "make_part",
    "make_pool",
    "pool_parts",
    "true_interactions",
    "vertices",
]

POOL_EVENTS = 2048
"""Collisions in a pool (chosen: each is used again turned in phi and mirrored in eta)."""
POOL_BATCH = 256

# Density of the mean number of interactions at every fifth value, UL 2018 simulation
# (cms-sw/cmssw, SimGeneral/MixingModule, mix_2018_25ns_UltraLegacy_PoissonOOTPU_cfi.py);
# linear in between.
_PROFILE_AT = np.arange(0.0, 80.0, 5.0)
_PROFILE = np.array(
    [8.9e-7, 3.131e-4, 2.282e-3, 1.031e-2, 2.498e-2, 3.383e-2, 3.804e-2, 3.917e-2,
     3.082e-2, 1.491e-2, 4.221e-3, 8.478e-4, 1.366e-4, 2.557e-5, 3.95e-6, 4.27e-7]
)  # fmt: skip
EARLY_BUNCHES, LATE_BUNCHES = 12, 3
"""Bunch crossings overlaid before and after the event (same source)."""
BEAM_SPOT_Z, BEAM_SPOT_WIDTH_Z = 0.0, 3.5
"""Centre and width of the luminous region along the beam, cm (2018: Configuration, VtxSmeared)."""
BEAM_SPOT_XY, BEAM_SPOT_WIDTH_XY = (0.0105, -0.0412), 0.0011
"""Centre and width across the beam, cm (2018: beam spot of the conditions, LHC optics)."""
_DENSITY_EDGES = np.array([0.0, 1.7, 2.6, 3.0, 3.5, 4.2, 5.2, 6.0, 7.5, 9.0, 12.0])
"""Slices of |z| in cm for ``gpudensity`` (cms-sw/cmssw, PhysicsTools/NanoAOD, globals_cff.py)."""
_NEAR = 0.1
"""Half-width in cm of the window of ``pudensity`` (same package, NPUTablesProducer.cc)."""
_PICOSECONDS = 0.18
"""Spread of the collision time in ns (chosen, of the size of ``GenVtx_t0`` in real files)."""

_ETA_TILES, _PHI_TILES, _MAX_ETA = 18, 11, 5.0
"""Tiles of the density, about 0.56 x 0.57 as in CMS's fixed grid (0.55)."""
_TILE_AREA = 2 * _MAX_ETA / _ETA_TILES * 2 * np.pi / _PHI_TILES
_JET = genjets.JetKind(0.4, 8.0)
_JET_FIELDS = ("pt", "eta", "phi", "mass", "nCharged", "nNeutral")


class Pool(NamedTuple):
    """Minimum-bias collisions reduced to what an overlay needs."""

    tiles: np.ndarray
    """Scalar pt sum per tile, GeV, ``(events, eta tiles, phi tiles)``, float32."""
    jet_offsets: np.ndarray
    jets: np.ndarray
    """Columns pt, eta, phi, mass, nCharged, nNeutral; float32."""


class Vertices(NamedTuple):
    """Collisions of one batch of bunch crossings."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    t: np.ndarray
    """Position (cm) and time (ns) of the hard collision, one per event."""
    summary: ak.Array
    """``Pileup`` of every event."""


def pool_parts(events: int) -> list[int]:
    """Collisions in each part of a pool: parts can be made anywhere, in any order."""
    full, rest = divmod(events, POOL_BATCH)
    return [POOL_BATCH] * full + [rest] * (rest > 0)


def make_part(seed: int, index: int, events: int) -> Pool:
    """Generate part ``index`` of the pool that belongs to a seed."""
    return _reduce(collide(MINIMUM_BIAS, events, np.random.SeedSequence([seed, 0x900C, index])))


def join(parts: list[Pool]) -> Pool:
    """Put the parts of a pool together."""
    counts = np.concatenate([np.diff(part.jet_offsets) for part in parts])
    return Pool(
        np.concatenate([part.tiles for part in parts]),
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([part.jets for part in parts]),
    )


def make_pool(seed: int, events: int = POOL_EVENTS) -> Pool:
    """Generate the pool that belongs to a seed; the same arguments give the same bytes."""
    return join([make_part(seed, i, size) for i, size in enumerate(pool_parts(events))])


def _reduce(record: EventRecord) -> Pool:
    line = truth.lineage(record)
    inputs = genjets.jet_inputs(record, line)
    jets, _ = genjets.cluster(record, line, inputs, _JET, details=True)
    rows = inputs.rows[inputs.visible]
    event = np.repeat(np.arange(record.events), np.diff(inputs.ends))[inputs.visible]
    eta = truth.pseudorapidity(line.pt[rows], record.pz[rows])
    phi = np.arctan2(record.py[rows], record.px[rows])
    inside = np.abs(eta) < _MAX_ETA
    i = ((eta[inside] + _MAX_ETA) / (2 * _MAX_ETA) * _ETA_TILES).astype(np.int64)
    j = ((phi[inside] + np.pi) / (2 * np.pi) * _PHI_TILES).astype(np.int64) % _PHI_TILES
    flat = (event[inside] * _ETA_TILES + i) * _PHI_TILES + j
    size = record.events * _ETA_TILES * _PHI_TILES
    tiles = np.bincount(flat, line.pt[rows][inside], size).astype(np.float32)
    table = np.stack([ak.to_numpy(ak.flatten(jets[f])) for f in _JET_FIELDS], axis=1)
    return Pool(
        tiles.reshape(record.events, _ETA_TILES, _PHI_TILES),
        np.concatenate(([0], np.cumsum(ak.to_numpy(ak.num(jets))))),
        table.astype(np.float32),
    )


def true_interactions(events: int, rng: np.random.Generator) -> np.ndarray:
    """Mean number of interactions per crossing, ``(events,)``, from the 2018 profile."""
    fine = np.linspace(_PROFILE_AT[0], _PROFILE_AT[-1], 1501)
    density = np.interp(fine, _PROFILE_AT, _PROFILE)
    cumulative = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return np.interp(rng.random(events), cumulative / cumulative[-1], fine)


def vertices(events: int, rng: np.random.Generator) -> Vertices:
    """Draw crossings: position of the hard collision, number and density of the others."""
    z = rng.normal(BEAM_SPOT_Z, BEAM_SPOT_WIDTH_Z, events)
    x = rng.normal(BEAM_SPOT_XY[0], BEAM_SPOT_WIDTH_XY, events)
    y = rng.normal(BEAM_SPOT_XY[1], BEAM_SPOT_WIDTH_XY, events)
    t = rng.normal(0.0, _PICOSECONDS, events)
    mean = true_interactions(events, rng)
    number = rng.poisson(mean)
    event = np.repeat(np.arange(events), number)
    others = rng.normal(BEAM_SPOT_Z, BEAM_SPOT_WIDTH_Z, len(event))
    near = np.abs(others - z[event]) < _NEAR
    edges = _DENSITY_EDGES[1:-1]
    mine, theirs = np.searchsorted(edges, np.abs(z)), np.searchsorted(edges, np.abs(others))
    width = np.diff(_DENSITY_EDGES)[mine]
    same = np.bincount(event, theirs == mine[event], events)
    columns = {
        "nPU": number.astype(np.int32),
        "nTrueInt": mean.astype(np.float32),
        "pudensity": np.bincount(event, near, events).astype(np.float32),
        "gpudensity": (same / (20.0 * width)).astype(np.float32),
        "sumEOOT": rng.poisson(mean * EARLY_BUNCHES).astype(np.int32),
        "sumLOOT": rng.poisson(mean * LATE_BUNCHES).astype(np.int32),
    }
    return Vertices(x, y, z, t, ak.zip(columns))


def draw(pool: Pool, number: np.ndarray, rng: np.random.Generator) -> tuple[ak.Array, np.ndarray]:
    """Overlay ``number[i]`` collisions of the pool on event ``i``.

    Each is turned by a whole number of tiles in phi and mirrored in eta at random. Returns
    ``PileupJet`` per event, hardest first, and the density: the median over tiles of pt per unit
    area (GeV), what CMS calls the fixed-grid rho, of the pile-up alone.
    """
    total = int(number.sum())
    event = np.repeat(np.arange(len(number)), number)
    chosen = rng.integers(0, len(pool.tiles), total)
    turn = rng.integers(0, _PHI_TILES, total)
    mirror = rng.random(total) < 0.5
    rho = _density(pool.tiles[chosen], number, turn, mirror)
    counts = np.diff(pool.jet_offsets)[chosen]
    source = np.repeat(np.arange(total), counts)
    within = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    jets = pool.jets[pool.jet_offsets[chosen[source]] + within].copy()
    jets[:, 1] *= np.where(mirror[source], -1.0, 1.0)
    phi = jets[:, 2] + turn[source] * (2 * np.pi / _PHI_TILES)
    jets[:, 2] = (phi + np.pi) % (2 * np.pi) - np.pi
    order = np.lexsort((-jets[:, 0], event[source]))
    per_event = np.bincount(event[source], minlength=len(number))
    columns_out = {f: ak.unflatten(jets[order, i], per_event) for i, f in enumerate(_JET_FIELDS)}
    return ak.zip(columns_out), rho


def _density(
    tiles: np.ndarray, number: np.ndarray, turn: np.ndarray, mirror: np.ndarray
) -> np.ndarray:
    """Median over tiles of the summed pt per unit area, one per event."""
    tiles[mirror] = tiles[mirror, ::-1]
    columns = (np.arange(_PHI_TILES) - turn[:, None]) % _PHI_TILES
    tiles = np.take_along_axis(tiles, columns[:, None, :], axis=2)
    summed = np.zeros((len(number), *tiles.shape[1:]), np.float32)
    some = np.flatnonzero(number)
    if len(some):
        summed[some] = np.add.reduceat(tiles, (np.cumsum(number) - number)[some], axis=0)
    return np.median(summed.reshape(len(number), -1), axis=1) / np.float32(_TILE_AREA)

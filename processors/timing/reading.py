"""Particles and hits of a block of simulated events, flat."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from processors.counters import Counters
from processors.errors import InputError, MissingBranchError
from processors.identity import EventIds, content_digest
from processors.jagged import Flat, counts_to_offsets, flat_field
from processors.location import location

__all__ = ["OPTICAL", "Detector", "has_content", "read_detector", "require_detector"]

OPTICAL = -22
"""PDG number that Geant4 gives optical photons."""
PARTICLES = "MCParticles"
PARTICLE_FIELDS = (
    "PDG",
    "mass",
    "vertex.x",
    "vertex.z",
    "momentum.x",
    "momentum.y",
    "momentum.z",
)
HIT_FIELDS = (
    "cellID",
    "EDep",
    "time",
    "position.x",
    "position.y",
    "position.z",
    "momentum.x",
    "momentum.y",
    "momentum.z",
)
NEWER = {"EDep": "eDep"}
"""Names since EDM4hep 0.99."""
PARENTS = f"_{PARTICLES}_parents.index"
PARENTS_BEGIN, PARENTS_END = (f"{PARTICLES}.parents_{edge}" for edge in ("begin", "end"))
GENERATED = 1
"""Status of particles that a generator hands to the detector simulation."""
GENERATIONS = 1000
"""Most steps from a particle to the generated one it comes from; chosen."""
LINKS = ("_{hits}_MCParticle.index", "_{hits}_particle.index")
"""Branch that says whose a hit is, in old and in newer files."""


IDENTITY = (
    ("PDG", ("PDG", "vertex.z", "momentum.x", "momentum.y", "momentum.z")),
    ("pdg", ("cellID", "EDep", "time", "position.z")),
)
"""Of particles and of hits: column that tells their kind, columns that an event's digest is of."""


class Detector(NamedTuple):
    """What a block holds.

    Attributes:
        particles: Fields of ``MCParticles``, momenta in GeV, vertices in mm.
        hits: Fields of the hits, energies in GeV, positions in mm, times in ns; ``particle`` is
            the position among the particles of the event, ``pdg`` its kind; 0 and −1 for hits
            that belong to no particle; ``parent`` is the position of the first parent of a
            photon's particle, −1 for none and for all other hits; ``origin`` that of the generated
            particle (status 1) which a particle is or comes from by single parents, −1 where the
            file does not tell and for photons.
        parents: Whether the file tells parents.
        status: Generator status of the particles, ``None`` where the file has none.
        ids: Identity of the events: a digest, because files of one production share their numbers.
    """

    particles: Flat
    hits: Flat
    parents: bool
    status: np.ndarray | None
    ids: EventIds


def require_detector(events: Any, hits: str) -> None:
    """Check that everything is there.

    Raises: MissingBranchError naming what is absent.
    """
    present = set(events.fields)
    wanted = [(f"{PARTICLES}.{name}",) for name in PARTICLE_FIELDS]
    wanted += [
        tuple(f"{hits}.{one}" for one in (name, NEWER.get(name)) if one) for name in HIT_FIELDS
    ]
    wanted.append(tuple(link.format(hits=hits) for link in LINKS))
    missing = [" or ".join(names) for names in wanted if not present.intersection(names)]
    if missing:
        others = sorted({name.partition(".")[0] for name in present if name.endswith(".cellID")})
        message = (
            f"branches {', '.join(missing)} not found in {location(events)}; collections of hits "
            f"there: {', '.join(others) or 'none'}. Keep the branches in the simulation's output, "
            "or name the collection with the key 'hits'"
        )
        raise MissingBranchError(message)


def read_detector(events: Any, hits: str, counters: Counters) -> Detector:
    """Read particles and hits, every branch once.

    Arguments:
        events: Block of NanoEvents.
        hits: Name of the collection.
        counters: ``hits.in``, ``hits.without_particle`` are added to.
    Raises: InputError where hits and the branch that tells their particles differ in number.
    """
    particles = _collection(events, PARTICLES, PARTICLE_FIELDS)
    found = _collection(events, hits, HIT_FIELDS)
    link = next(name for one in LINKS if (name := one.format(hits=hits)) in events.fields)
    links, index = flat_field(events[link])
    if not np.array_equal(links, found.counts):
        message = (
            f"{link} does not have one entry per hit in {location(events)}; the file is broken"
        )
        raise InputError(message)
    status = f"{PARTICLES}.generatorStatus"
    known = flat_field(events[status])[1] if status in events.fields else None
    offsets = particles.offsets
    row = index + np.repeat(offsets[:-1], found.counts)
    linked = (index >= 0) & (row < np.repeat(offsets[1:], found.counts))
    pdg = np.zeros(len(index), dtype=np.int64)
    pdg[linked] = particles["PDG"][row[linked]]
    counters["hits.in"] += len(index)
    counters["hits.without_particle"] += int(np.count_nonzero(~linked))
    told = {PARENTS, PARENTS_BEGIN, PARENTS_END} <= set(events.fields)
    parent, origin = (np.full(len(index), -1, dtype=np.int64) for _ in range(2))
    family = _family(events) if told else None
    born, other = (np.flatnonzero(linked & one) for one in (pdg == OPTICAL, pdg != OPTICAL))
    if family is not None:
        parent[born] = _parents(family, found.event[born], row[born])
    if known is not None:
        origin[other] = _origins(family, found.event[other], row[other], known, offsets)
    columns = dict(found.columns) | {
        "particle": np.where(linked, index, -1).astype(np.int64),
        "pdg": pdg,
        "parent": parent,
        "origin": origin,
    }
    complete = Flat(found.counts, columns)
    return Detector(particles, complete, told, known, _identity(particles, complete))


class _Family(NamedTuple):
    """Parents of the particles of a block: positions in their events, and ranges among them."""

    offsets: np.ndarray
    parents: np.ndarray
    begin: np.ndarray
    end: np.ndarray


def _family(events: Any) -> _Family:
    counts, parents = flat_field(events[PARENTS])
    begin, end = (flat_field(events[name])[1] for name in (PARENTS_BEGIN, PARENTS_END))
    return _Family(counts_to_offsets(counts), parents, begin.astype(np.int64), end.astype(np.int64))


def _parents(family: _Family, event: np.ndarray, row: np.ndarray) -> np.ndarray:
    """First parents of particles, as positions in their events, −1 for none, ``(n,)``.

    Arguments:
        family: Parents.
        event: Of each particle.
        row: Of each particle, among those of the block.
    """
    begin, end = family.begin[row], family.end[row]
    place = begin + family.offsets[event]
    some = (end > begin) & (place < family.offsets[event + 1])
    found = np.full(len(row), -1, dtype=np.int64)
    found[some] = family.parents[place[some]]
    return found


def _origins(
    family: _Family | None,
    event: np.ndarray,
    row: np.ndarray,
    status: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Generated particles that particles are or come from, as positions in their events, ``(n,)``.

    A particle with several parents has none, −1.
    """
    found = np.full(len(row), -1, dtype=np.int64)
    looking, at = np.arange(len(row)), row
    for _ in range(GENERATIONS):
        done = status[at] == GENERATED
        found[looking[done]] = at[done] - offsets[event[looking[done]]]
        looking, at = looking[~done], at[~done]
        if family is None or not len(looking):
            break
        parent = _parents(family, event[looking], at)
        first, last = (offsets[event[looking] + one] for one in (0, 1))
        single = (family.end[at] - family.begin[at] == 1) & (parent >= 0) & (first + parent < last)
        looking, at = looking[single], (first + parent)[single]
    return found


def _collection(events: Any, name: str, fields: tuple[str, ...]) -> Flat:
    columns = {}
    counts = np.zeros(len(events), dtype=np.int64)
    for field in fields:
        branch = f"{name}.{field}"
        if branch not in events.fields:
            branch = f"{name}.{NEWER[field]}"
        counts, columns[field] = flat_field(events[branch])
    return Flat(counts, columns)


def has_content(event: np.ndarray) -> np.ndarray:
    """Whether events have particles or deposits, by their digests ``(n,)``.

    Example:
        >>> has_content(np.array([12], dtype=np.uint64)).tolist()
        [True]
    """
    return event != _nobody()


@cache
def _nobody() -> np.uint64:
    """Digest of an event without particles and deposits."""
    nothing = np.zeros(1, dtype=np.int64)
    columns = (dict.fromkeys((kind, *names), nothing[:0]) for kind, names in IDENTITY)
    return np.uint64(_identity(*(Flat(nothing, one) for one in columns)).event[0])


def _identity(particles: Flat, hits: Flat) -> EventIds:
    """Digest of the particles, of the hits, photons left out: files may hold them or not."""
    digest = np.zeros(len(hits.counts), dtype=np.uint64)
    for flat, (kind, names) in zip((particles, hits), IDENTITY, strict=True):
        some = flat.select(flat[kind] != OPTICAL, names)
        digest = digest * np.uint64(3) + content_digest(some)
    zero = np.zeros(len(digest), dtype=np.uint32)
    return EventIds(zero, zero, digest, digested=True)

"""Batches of muons in bars, reproducible from a seed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import numpy as np

from samples.files import reproducible_file
from samples.timing.bar import Bar
from samples.timing.edm4hep import Collections, collections, make_tree
from samples.timing.light import Photons, shine
from samples.timing.muons import Crossings, Gun, Muons, cross, shoot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["BATCH_EVENTS", "Batch", "Request", "batch", "content_of", "produce"]

BATCH_EVENTS = 250
"""Events per batch: the unit of seeding and of the baskets."""
COMPRESSION_LEVEL = 1
"""Of ZSTD: with 9 the whole takes 1.6 times as long and saves 1 %; measured."""


@dataclass(frozen=True)
class Request:
    """What to produce.

    Attributes:
        events: Number of events.
        seed: Of everything.
        gun: Where muons start and where to.
        bar: What they meet.
        photons: Whether the photons are written; their absence changes nothing else.

    Raises: ValueError for a negative seed, or fewer than one event.
    """

    events: int
    seed: int
    gun: Gun = field(default_factory=Gun)
    bar: Bar = field(default_factory=Bar)
    photons: bool = True

    def __post_init__(self) -> None:
        for name, least in (("events", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                message = f"{name} is {value}; it must be at least {least}"
                raise ValueError(message)

    @property
    def sizes(self) -> list[int]:
        """Events of every batch."""
        full, rest = divmod(self.events, BATCH_EVENTS)
        return [BATCH_EVENTS] * full + [rest] * (rest > 0)

    @property
    def identity(self) -> str:
        """What the file is, in one line."""
        return f"timing {self!r}"


class Batch(NamedTuple):
    """Truth of one batch."""

    muons: Muons
    tracks: Crossings
    photons: Photons


def batch(request: Request, number: int) -> Batch:
    """What happens in one batch; its photons are made even if they are not written."""
    name = zlib.crc32(b"timing")
    rng = np.random.default_rng(np.random.SeedSequence([request.seed, name, number]))
    muons = shoot(request.gun, request.bar, request.sizes[number], rng)
    tracks = cross(muons, request.bar, rng)
    photons = shine(tracks, muons.theta[tracks.muon], request.bar, rng)
    return Batch(muons, tracks, photons)


def produce(request: Request, path: Path, *, progress: Callable[[int, int], None]) -> int:
    """Write the events of ``request`` to ``path``; the same request gives the same bytes.

    Returns: number of photons written.
    Raises: OSError if the folder of ``path`` does not exist or cannot be written.
    """
    done = photons = 0
    sizes = request.sizes
    with reproducible_file(path, request.identity, COMPRESSION_LEVEL) as file:
        tree = make_tree(file, len(sizes))
        for number, size in enumerate(sizes):
            content = content_of(request, number)
            tree.extend(content)
            done += size
            photons += int(ak.count(content["_MCParticles_parents"]["index"]))
            progress(done, request.events)
    return photons


def content_of(request: Request, number: int) -> Collections:
    """What a file shows of one batch."""
    made = batch(request, number)
    if not request.photons:
        made = made._replace(photons=Photons(*(column[:0] for column in made.photons)))
    return collections(*made, request.bar, request.sizes[number], first=number * BATCH_EVENTS)

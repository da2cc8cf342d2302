"""NanoAOD files: batches of truth and detector output in, ROOT trees out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import numpy as np

from samples.branches import COLLECTIONS, SCALARS, SINGLES, flat_columns
from samples.files import reproducible_file
from samples.truth import stored_mass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import uproot

__all__ = ["FLUSH_EVENTS", "NanoWriter", "nano_events", "open_writer"]

FLUSH_EVENTS = 5000
"""Events per basket (chosen: large enough to compress, small beside a chunk)."""


def nano_events(truth: ak.Array, reco: ak.Array) -> ak.Array:
    """Everything that a file shows of one batch: types and precision as in NanoAOD v9."""
    particles = truth["GenPart"]
    flat = ak.flatten(particles)
    mass = stored_mass(ak.to_numpy(flat["pdgId"]), ak.to_numpy(flat["mass"]))
    shown = {name: truth[name] for name in ("GenJet", "GenJetAK8")}
    shown["GenPart"] = ak.with_field(particles, ak.unflatten(mass, ak.num(particles)), "mass")
    shown |= {name: reco[name] for name in ("Muon", "Jet")}
    out = {name: _jagged(shown[name], name) for name in shown}
    out["Electron"] = _no_electrons(len(truth))
    info = truth["Generator"]
    generator = ak.zip(
        {
            **{name: info[name] for name in ("weight", "id1", "id2", "x1", "x2")},
            "binvar": info["pthat"],
            "scalePDF": info["scale"],
            "xpdf1": info["pdf1"],
            "xpdf2": info["pdf2"],
        }
    )
    single = {name: truth[name] for name in ("GenVtx", "GenMET", "Pileup")}
    single |= {"Generator": generator, "PV": reco["PV"], "MET": reco["MET"]}
    for name, record in single.items():
        out[name] = ak.zip(flat_columns(record, SINGLES[name]))
    plain = {branch.name: branch for branch in SCALARS}
    for name, branch in plain.items():
        source = reco if name == "fixedGridRhoFastjetAll" else truth
        out[name] = flat_columns(source[[name]], (branch,))[name]
    return ak.zip(out, depth_limit=1)


def _jagged(collection: ak.Array, name: str) -> ak.Array:
    counts = ak.num(collection)
    columns = flat_columns(ak.flatten(collection), COLLECTIONS[name])
    return ak.zip({field: ak.unflatten(values, counts) for field, values in columns.items()})


def _no_electrons(events: int) -> ak.Array:
    counts = np.zeros(events, np.int64)
    return ak.zip(
        {
            branch.name: ak.unflatten(np.empty(0, branch.dtype), counts)
            for branch in COLLECTIONS["Electron"]
        }
    )


class _Sums(NamedTuple):
    """Normalisation of what was written."""

    events: int = 0
    weight: float = 0.0
    weight2: float = 0.0
    blocks: frozenset[tuple[int, int]] = frozenset()

    def add(self, events: ak.Array) -> _Sums:
        weight = ak.to_numpy(events["genWeight"]).astype(np.float64)
        pairs = np.stack([ak.to_numpy(events["run"]), ak.to_numpy(events["luminosityBlock"])])
        found = {(int(run), int(block)) for run, block in np.unique(pairs, axis=1).T}
        return _Sums(
            self.events + len(weight),
            self.weight + float(weight.sum()),
            self.weight2 + float((weight**2).sum()),
            self.blocks | found,
        )


class NanoWriter:
    """An open file: ``add`` batches in order; baskets are filled to :data:`FLUSH_EVENTS` events."""

    def __init__(self, file: uproot.WritableDirectory, events: int) -> None:
        self._waiting: list[ak.Array] = []
        self._pending = 0
        self._sums = _Sums()
        self._file = file
        types: dict[str, str] = {branch.name: branch.dtype for branch in SCALARS}
        for name, branches in (*SINGLES.items(), *COLLECTIONS.items()):
            fields = ", ".join(f'"{branch.name}": {branch.dtype}' for branch in branches)
            types[name] = ("var * " if name in COLLECTIONS else "") + "{" + fields + "}"
        self._tree = file.mktree(
            "Events",
            types,
            title="Events",
            initial_basket_capacity=max(-(-events // FLUSH_EVENTS), 1),
        )

    def add(self, events: ak.Array) -> None:
        """Take one batch as :func:`nano_events` makes it."""
        self._waiting.append(events)
        self._pending += len(events)
        self._sums = self._sums.add(events)
        while self._pending >= FLUSH_EVENTS:
            self._flush(FLUSH_EVENTS)

    def _flush(self, events: int) -> None:
        block = ak.concatenate(self._waiting)
        head, tail = block[:events], block[events:]
        self._waiting, self._pending = [tail], len(tail)
        self._tree.extend({name: head[name] for name in head.fields})

    def finish(self) -> None:
        """Write what waits, then ``Runs`` and ``LuminosityBlocks``."""
        if self._pending:
            self._flush(self._pending)
        sums, blocks = self._sums, sorted(self._sums.blocks)
        runs: dict[str, np.ndarray] = {
            "run": np.array([1], np.uint32),
            "genEventCount": np.array([sums.events], np.int64),
            "genEventSumw": np.array([sums.weight], np.float64),
            "genEventSumw2": np.array([sums.weight2], np.float64),
        }
        lumis: dict[str, np.ndarray] = {
            "run": np.array([run for run, _ in blocks], np.uint32),
            "luminosityBlock": np.array([block for _, block in blocks], np.uint32),
        }
        for name, columns in (("Runs", runs), ("LuminosityBlocks", lumis)):
            tree = self._file.mktree(
                name, {k: v.dtype for k, v in columns.items()}, initial_basket_capacity=1
            )
            tree.extend(columns)


@contextmanager
def open_writer(path: Path, events: int, identity: str) -> Iterator[NanoWriter]:
    """Open ``path`` for ``events`` events; the file appears, complete, when the block ends well.

    ``identity`` says what the file is: its UUID follows from it, and its bytes from the events
    alone. Neither the clock nor the path leaves a trace in the file.
    """
    with reproducible_file(path, identity) as file:
        writer = NanoWriter(file, events)
        yield writer
        writer.finish()

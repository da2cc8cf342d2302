"""Generated files read beside full simulation for the figures of the docs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
import uproot

__all__ = ["Objects", "Sample", "main", "read_sample"]

GEN_COLUMNS = {
    "Jet": ("GenJet", "genJetIdx", ("pt", "eta", "phi", "mass")),
    "Muon": ("GenPart", "genPartIdx", ("pt", "eta", "phi", "mass", "pdgId")),
}


class Objects(NamedTuple):
    """Flat objects of one collection; ``gen_`` columns are NaN where ``matched`` is false."""

    columns: dict[str, np.ndarray]
    matched: np.ndarray
    counts: np.ndarray  # objects per event
    unmatched_counts: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """Column of the matched objects."""
        return self.columns[name][self.matched]

    def __contains__(self, name: str) -> bool:
        """Whether the file has this column."""
        return name in self.columns


class Sample(NamedTuple):
    """One file, read for comparison."""

    label: str
    jets: Objects
    muons: Objects
    gen_jet_pt: np.ndarray
    vertices: np.ndarray

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.vertices)


def read_sample(path: str | Path, label: str, tree: str = "Events") -> Sample:
    """Read jets, muons with their generator partners.

    Raises: KeyError naming the branch if a generator collection is missing.
    """
    with uproot.open(path) as file:
        events = file[tree]
        return Sample(
            label,
            _objects(events, "Jet"),
            _objects(events, "Muon"),
            ak.to_numpy(ak.flatten(events["GenJet_pt"].array())),
            ak.to_numpy(events["PV_npvs"].array()),
        )


def _objects(events: uproot.TTree, collection: str) -> Objects:
    gen_name, index_name, gen_fields = GEN_COLUMNS[collection]
    names = events.keys(filter_name=f"{collection}_*")
    reco = {name[len(collection) + 1 :]: events[name].array() for name in names}
    index = reco[index_name]
    gen = {field: events[f"{gen_name}_{field}"].array() for field in gen_fields}
    matched = (index >= 0) & (index < ak.num(gen["pt"]))
    safe = ak.mask(index, matched)
    columns = {name: ak.to_numpy(ak.flatten(values)) for name, values in reco.items()}
    for field, values in gen.items():
        partner = ak.fill_none(ak.flatten(values[safe]), np.nan)
        columns[f"gen_{field}"] = ak.to_numpy(partner).astype(np.float64)
    return Objects(
        columns,
        ak.to_numpy(ak.flatten(matched)),
        ak.to_numpy(ak.num(index)),
        ak.to_numpy(ak.sum(~matched, axis=1)),
    )


def _labelled(paths: Sequence[Path]) -> Mapping[str, Path]:
    return {_label(path): path for path in paths}


def _label(path: Path) -> str:
    for mark, label in (("v12", "v12 ttbar"), ("v15", "v15 ttbar"), ("UL17", "UL17 Drell-Yan")):
        if mark in path.name:
            return label
    return path.stem


def main(argv: Sequence[str] | None = None) -> int:
    """Draw all figures into a folder."""
    from samples import pictures

    parser = argparse.ArgumentParser(prog="python -m samples.compare", description=__doc__)
    parser.add_argument("file", type=Path, help="generated NanoAOD file")
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="full simulation")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the figures")
    arguments = parser.parse_args(argv)
    generated = read_sample(arguments.file, "generated")
    real = [read_sample(path, label) for label, path in _labelled(arguments.real).items()]
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, draw in pictures.FIGURES.items():
        shown = [sample for sample in real if ("qgl" in sample.jets) == (name == "older")]
        path = arguments.output / f"samples_{name}.png"
        pictures.save(draw(generated, shown), path)
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

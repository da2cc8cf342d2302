"""NanoAOD v9 branches of generator and event level: names, types, stored precision.

Names and types: CMS NanoAOD v9. Mantissa bits were read back from real files (v9, v12, v15).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from processors.objects.columns import JET_BRANCHES, MUON_BRANCHES, Branch, round_mantissa

if TYPE_CHECKING:
    from collections.abc import Mapping

    import awkward as ak

__all__ = ["COLLECTIONS", "SCALARS", "SINGLES", "flat_columns"]


def _f(name: str, unit: str, bits: int | None, doc: str) -> Branch:
    return Branch(name, "float32", unit, bits, doc)


def _momentum(bits: tuple[int | None, int, int, int]) -> tuple[Branch, ...]:
    pt, eta, phi, mass = bits
    return (
        _f("pt", "GeV", pt, "transverse momentum"),
        _f("eta", "1", eta, "pseudorapidity"),
        _f("phi", "rad", phi, "azimuth"),
        _f("mass", "GeV", mass, "mass"),
    )


_FLAVOURS = (
    Branch("partonFlavour", "int32", "1", None, "flavour from parton matching"),
    Branch("hadronFlavour", "uint8", "1", None, "flavour from hadron ghost clustering"),
)

GENPART_BRANCHES = (
    *_momentum((8, 8, 8, 8)),
    Branch("pdgId", "int32", "1", None, "PDG id"),
    Branch("status", "int32", "1", None, "particle status, 1 = stable"),
    Branch("statusFlags", "int32", "1", None, "status flags, one bit each"),
    Branch("genPartIdxMother", "int32", "1", None, "index of the mother particle"),
)
ELECTRON_BRANCHES = (
    *_momentum((None, 12, 12, 10)),
    Branch("charge", "int32", "1", None, "electric charge"),
    Branch("pdgId", "int32", "1", None, "code assigned by the reconstruction"),
    Branch("genPartIdx", "int32", "1", None, "index of the matched GenPart"),
    Branch("jetIdx", "int32", "1", None, "index of the associated jet"),
)

COLLECTIONS: Mapping[str, tuple[Branch, ...]] = MappingProxyType(
    {
        "GenPart": GENPART_BRANCHES,
        "GenJet": (*_momentum((None, 12, 12, 10)), *_FLAVOURS),
        "GenJetAK8": (*_momentum((None, 12, 12, 10)), *_FLAVOURS),
        "Muon": MUON_BRANCHES,
        "Jet": JET_BRANCHES,
        # No electron is simulated; the collection is there for indices that point to it.
        "Electron": ELECTRON_BRANCHES,
    }
)
"""Jagged collections: one list per event."""

SINGLES: Mapping[str, tuple[Branch, ...]] = MappingProxyType(
    {
        "GenVtx": (
            _f("x", "cm", 10, "gen vertex x"),
            _f("y", "cm", 10, "gen vertex y"),
            _f("z", "cm", 16, "gen vertex z"),
            _f("t0", "ns", 12, "gen vertex t0"),
        ),
        "GenMET": (_f("pt", "GeV", 10, "pt"), _f("phi", "rad", 10, "phi")),
        "Generator": (
            _f("weight", "1", None, "MC generator weight"),
            _f("binvar", "GeV", 14, "MC generation binning value, pTHat"),
            _f("scalePDF", "GeV", 14, "Q2 scale for PDF"),
            _f("x1", "1", 14, "x1 fraction of proton momentum carried by the first parton"),
            _f("x2", "1", 14, "x2 fraction of proton momentum carried by the second parton"),
            _f("xpdf1", "1", 14, "x*pdf(x) for the first parton"),
            _f("xpdf2", "1", 14, "x*pdf(x) for the second parton"),
            Branch("id1", "int32", "1", None, "id of first parton"),
            Branch("id2", "int32", "1", None, "id of second parton"),
        ),
        "Pileup": (
            Branch("nPU", "int32", "1", None, "pile-up interactions in this bunch crossing"),
            _f("nTrueInt", "1", 10, "mean number of interactions"),
            _f("pudensity", "1/mm", 10, "PU vertices / mm"),
            _f("gpudensity", "1/mm", 10, "generator-level PU vertices / mm"),
            Branch("sumEOOT", "int32", "1", None, "number of early out of time pileup"),
            Branch("sumLOOT", "int32", "1", None, "number of late out of time pileup"),
        ),
        "PV": (
            Branch("npvs", "int32", "1", None, "number of reconstructed primary vertices"),
            Branch("npvsGood", "int32", "1", None, "number of good primary vertices"),
            _f("x", "cm", 10, "main primary vertex x"),
            _f("y", "cm", 10, "main primary vertex y"),
            _f("z", "cm", 16, "main primary vertex z"),
        ),
        "MET": (_f("pt", "GeV", None, "pt"), _f("phi", "rad", 12, "phi")),
    }
)
"""Records with one value per event."""

SCALARS = (
    Branch("run", "uint32", "1", None, "run"),
    Branch("luminosityBlock", "uint32", "1", None, "luminosity block"),
    Branch("event", "uint64", "1", None, "event number"),
    _f("genWeight", "1", None, "generator weight"),
    _f("fixedGridRhoFastjetAll", "GeV", None, "rho from all particle-flow candidates"),
)
"""Plain columns."""


def flat_columns(record: ak.Array, branches: tuple[Branch, ...]) -> dict[str, np.ndarray]:
    """Columns of a flat record with the type and precision of its branches.

    Raises: ValueError if a branch is missing from the record.
    """
    missing = [branch.name for branch in branches if branch.name not in record.fields]
    if missing:
        message = f"columns {', '.join(missing)} are missing; the record has {record.fields}"
        raise ValueError(message)
    return {
        branch.name: np.asarray(
            round_mantissa(record[branch.name], branch.mantissa_bits)
            if branch.dtype == "float32"
            else record[branch.name],
            dtype=branch.dtype,
        )
        for branch in branches
    }

"""Columns that are functions of other columns.

Every function takes two mappings of flat per-object arrays, the reconstructed columns named as the
NanoAOD fields and the matched generator object's quantities, and returns one array. The same
functions serve full simulation (``samples``) and flash simulation, so that a derived column never
disagrees with what it was derived from. Cuts: CMSSW ``DataFormats/MuonReco/src/MuonSelectors.cc``,
``PhysicsTools/PatAlgos/plugins/PATMuonProducer.cc``, ``PhysicsTools/SelectorUtils`` (PFJetID,
2018), ``RecoJets/JetProducers/python/PileupJetIDCutParams_cfi.py`` (106X UL18). How well each
reproduces the stored column of real files: docs/samples.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

__all__ = [
    "JET_DERIVED",
    "MUON_DERIVED",
    "PU_ID_CUTS",
    "Columns",
    "DerivedFunction",
    "derive",
]

Columns = Mapping[str, np.ndarray]
DerivedFunction = Callable[[Columns, Columns], np.ndarray]

MINI_ISO_CUTS = (0.40, 0.20, 0.10, 0.05)
PF_ISO_CUTS = (0.40, 0.25, 0.20, 0.15, 0.10, 0.05)
TK_ISO_CUTS = (0.10, 0.05)
LOW_PT_SCORE_CUTS = (-0.60, -0.20)
SOFT_SCORE_CUT = 0.58
MULTI_ISO_MINI, MULTI_ISO_RATIO, MULTI_ISO_PTREL_GEV = 0.16, 0.76, 7.2
TIGHT_CHARGE_RELATIVE_ERROR = 0.2
TIGHT_DXY_CM, TIGHT_DZ_CM = 0.2, 0.5
PROMPT_DXY_CM, PROMPT_DZ_CM = 0.02, 0.1
SOFT_DXY_CM, SOFT_DZ_CM = 0.3, 20.0
MIN_TRACKER_LAYERS = 6
MIN_STATIONS = 2
HIGH_PT_RELATIVE_ERROR = 0.3

PU_ID_PT_EDGES_GEV = (20.0, 30.0, 40.0)
PU_ID_ETA_EDGES = (2.5, 2.75, 3.0)
PU_ID_CUTS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "loose": (
        (-0.95, -0.72, -0.68, -0.47),
        (-0.88, -0.55, -0.60, -0.43),
        (-0.63, -0.18, -0.43, -0.24),
        (-0.19, 0.22, -0.13, -0.03),
    ),
    "medium": (
        (0.26, -0.33, -0.54, -0.37),
        (0.68, -0.04, -0.43, -0.30),
        (0.90, 0.36, -0.16, -0.09),
        (0.96, 0.61, 0.14, 0.12),
    ),
    "tight": (
        (0.77, 0.38, -0.31, -0.21),
        (0.90, 0.60, -0.12, -0.13),
        (0.96, 0.82, 0.20, 0.09),
        (0.98, 0.92, 0.47, 0.29),
    ),
}
PU_ID_BITS: Mapping[str, int] = {"loose": 4, "medium": 2, "tight": 1}


def _count_below(values: np.ndarray, cuts: tuple[float, ...]) -> np.ndarray:
    passed = [np.asarray(values) < cut for cut in cuts]
    return np.sum(passed, axis=0, dtype=np.uint8)


def _truth(columns: Columns, name: str) -> np.ndarray:
    return np.asarray(columns[name]).astype(bool)


def _near_vertex(columns: Columns, dxy: float, dz: float) -> np.ndarray:
    return (np.abs(columns["dxy"]) < dxy) & (np.abs(columns["dz"]) < dz)


def _longitudinal_scale(columns: Columns) -> np.ndarray:
    return 1.0 / np.cosh(np.asarray(columns["eta"], dtype=np.float64))


def ip3d(columns: Columns, gen: Columns) -> np.ndarray:
    """Distance of the straight track from the vertex in cm; exact to 5e-4 in real files."""
    transverse = np.asarray(columns["dxy"], dtype=np.float64)
    longitudinal = np.asarray(columns["dz"], dtype=np.float64) * _longitudinal_scale(columns)
    return np.hypot(transverse, longitudinal).astype(np.float32)


def sip3d(columns: Columns, gen: Columns) -> np.ndarray:
    """Significance of ``ip3d``: errors of dxy and dz propagated, the vertex taken as exact."""
    scale = _longitudinal_scale(columns)
    a = np.asarray(columns["dxy"], dtype=np.float64)
    b = np.asarray(columns["dz"], dtype=np.float64) * scale
    square = a**2 + b**2
    error2 = (a * columns["dxyErr"]) ** 2 + (b * scale * columns["dzErr"]) ** 2
    safe = np.where(error2 > 0, error2, 1.0)
    return np.where(error2 > 0, square / np.sqrt(safe), 0.0).astype(np.float32)


def loose_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Particle-flow muon that is global or tracker (``muon::isLooseMuon``)."""
    return _truth(columns, "isPFcand") & (
        _truth(columns, "isGlobal") | _truth(columns, "isTracker")
    )


def tight_id(columns: Columns, gen: Columns) -> np.ndarray:
    """``muon::isTightMuon`` in the stored columns; fit chi2 and hit counts are not stored."""
    return (
        _truth(columns, "isGlobal")
        & _truth(columns, "isPFcand")
        & (columns["nTrackerLayers"] >= MIN_TRACKER_LAYERS)
        & (columns["nStations"] >= MIN_STATIONS)
        & _near_vertex(columns, TIGHT_DXY_CM, TIGHT_DZ_CM)
    )


def soft_id(columns: Columns, gen: Columns) -> np.ndarray:
    """``muon::isSoftMuon`` in the stored columns."""
    return (
        _truth(columns, "isTracker")
        & _truth(columns, "highPurity")
        & (columns["nTrackerLayers"] >= MIN_TRACKER_LAYERS)
        & (columns["nStations"] >= 1)
        & _near_vertex(columns, SOFT_DXY_CM, SOFT_DZ_CM)
    )


def high_pt_id(columns: Columns, gen: Columns) -> np.ndarray:
    """``muon::isHighPtMuon`` (2) or ``isTrackerHighPtMuon`` (1), TuneP taken equal to pt."""
    track = (
        (columns["nTrackerLayers"] >= MIN_TRACKER_LAYERS)
        & (columns["nStations"] >= MIN_STATIONS)
        & (columns["ptErr"] < HIGH_PT_RELATIVE_ERROR * columns["pt"])
        & _near_vertex(columns, TIGHT_DXY_CM, TIGHT_DZ_CM)
    )
    tracker = track & _truth(columns, "isTracker")
    return np.where(track & _truth(columns, "isGlobal"), 2, tracker).astype(np.uint8)


def medium_prompt_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Medium ID close to the vertex (``CutBasedIdMediumPrompt``)."""
    return _truth(columns, "mediumId") & _near_vertex(columns, PROMPT_DXY_CM, PROMPT_DZ_CM)


def mini_iso_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Number of mini-isolation working points passed (``MiniIsoLoose`` to ``VeryTight``)."""
    return _count_below(columns["miniPFRelIso_all"], MINI_ISO_CUTS)


def multi_iso_id(columns: Columns, gen: Columns) -> np.ndarray:
    """``MultiIsoMedium`` as 2, else 0: real files hold no 1."""
    ratio = 1.0 / (1.0 + np.asarray(columns["jetRelIso"], dtype=np.float64))
    in_jet = (ratio > MULTI_ISO_RATIO) | (columns["jetPtRelv2"] > MULTI_ISO_PTREL_GEV)
    passed = (columns["miniPFRelIso_all"] < MULTI_ISO_MINI) & in_jet
    return (2 * passed).astype(np.uint8)


def low_pt_score_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Number of low-pt score working points passed (``LowPtMvaLoose``, ``LowPtMvaMedium``)."""
    return (2 - _count_below(columns["mvaLowPt"], LOW_PT_SCORE_CUTS)).astype(np.uint8)


def pf_iso_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Number of working points of pfRelIso04_all passed (``PFIsoVeryLoose`` to six)."""
    return _count_below(columns["pfRelIso04_all"], PF_ISO_CUTS)


def tk_iso_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Number of tracker-isolation working points passed (``TkIsoLoose``, ``TkIsoTight``)."""
    return _count_below(columns["tkRelIso"], TK_ISO_CUTS)


def soft_score_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Soft score above its working point (``SoftMvaId``)."""
    return np.asarray(columns["softMva"]) > SOFT_SCORE_CUT


def tight_charge(columns: Columns, gen: Columns) -> np.ndarray:
    """2 where the relative pt error is small enough for the charge, else 0."""
    small = columns["ptErr"] < TIGHT_CHARGE_RELATIVE_ERROR * np.asarray(columns["pt"])
    return (2 * small).astype(np.int32)


def neutral_hadron_fraction(columns: Columns, gen: Columns) -> np.ndarray:
    """What the other four energy fractions leave; they add to one in real files."""
    charged = np.asarray(columns["chHEF"], dtype=np.float64) + columns["chEmEF"]
    rest = 1.0 - charged - columns["neEmEF"] - columns["muEF"]
    return np.clip(rest, 0.0, 1.0).astype(np.float32)


def jet_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Bits 2 (tight) and 4 (tight with lepton veto) of PFJetID, RUNIIULCHS."""
    eta = np.abs(columns["eta"])
    hadrons, photons = np.asarray(columns["neHEF"]), np.asarray(columns["neEmEF"])
    number = np.asarray(columns["nConstituents"])
    charged = np.asarray(columns["chHEF"])
    any_charged = charged + columns["chEmEF"] + columns["muEF"] > 0
    central = (hadrons < 0.9) & (photons < 0.9) & (number > 1) & (charged > 0)
    border = (hadrons < 0.9) & (photons < 0.99) & any_charged
    endcap = (photons > 0.01) & (photons < 0.99) & (number > 1)
    forward = (photons < 0.9) & (hadrons > 0.2) & (number > 10)
    regions = [eta <= 2.6, eta <= 2.7, eta <= 3.0]
    tight = np.select(regions, [central, border, endcap], forward)
    leptons = (columns["muEF"] >= 0.8) | (columns["chEmEF"] >= 0.8)
    veto = tight & ~(leptons & (eta <= 2.7))
    return (2 * tight + 4 * veto).astype(np.int32)


def pileup_id(columns: Columns, gen: Columns) -> np.ndarray:
    """Bits 4, 2, 1 (loose, medium, tight) of the pile-up jet ID from ``puIdDisc``."""
    row = np.searchsorted(PU_ID_PT_EDGES_GEV, columns["pt"], side="right")
    column = np.searchsorted(PU_ID_ETA_EDGES, np.abs(columns["eta"]), side="left")
    score = np.asarray(columns["puIdDisc"])
    flags = np.zeros(score.shape, dtype=np.int32)
    for name, bit in PU_ID_BITS.items():
        flags |= bit * (score > np.asarray(PU_ID_CUTS[name])[row, column])
    return flags


def hadron_flavour(columns: Columns, gen: Columns) -> np.ndarray:
    """Flavour of the matched generator jet from hadrons."""
    return np.asarray(gen["hadronFlavour"]).astype(np.int32)


def parton_flavour(columns: Columns, gen: Columns) -> np.ndarray:
    """Flavour of the matched generator jet from partons."""
    return np.asarray(gen["partonFlavour"]).astype(np.int32)


MUON_DERIVED: dict[str, DerivedFunction] = {
    "ip3d": ip3d,
    "sip3d": sip3d,
    "looseId": loose_id,
    "tightId": tight_id,
    "softId": soft_id,
    "highPtId": high_pt_id,
    "mediumPromptId": medium_prompt_id,
    "miniIsoId": mini_iso_id,
    "multiIsoId": multi_iso_id,
    "mvaLowPtId": low_pt_score_id,
    "pfIsoId": pf_iso_id,
    "tkIsoId": tk_iso_id,
    "softMvaId": soft_score_id,
    "tightCharge": tight_charge,
}

JET_DERIVED: dict[str, DerivedFunction] = {
    "neHEF": neutral_hadron_fraction,
    "jetId": jet_id,
    "puId": pileup_id,
    "hadronFlavour": hadron_flavour,
    "partonFlavour": parton_flavour,
}


def derive(
    table: Mapping[str, DerivedFunction], columns: Columns, gen: Columns
) -> dict[str, np.ndarray]:
    """Evaluate ``table`` in order; a later function sees the results of earlier ones.

    Arguments:
        table: ``MUON_DERIVED``, ``JET_DERIVED`` or a part of one.
        columns: Flat arrays ``(n,)`` of the collection's other columns.
        gen: Flat arrays ``(n,)`` of the matched generator objects.
    Returns: only the derived columns, each ``(n,)``.
    Raises: KeyError naming the first missing input.
    Example:
        >>> jet = {"chHEF": np.array([0.6]), "chEmEF": np.array([0.0]),
        ...        "neEmEF": np.array([0.3]), "muEF": np.array([0.0])}
        >>> only = {"neHEF": JET_DERIVED["neHEF"]}
        >>> bool(np.isclose(derive(only, jet, {})["neHEF"][0], 0.1))
        True
    """
    known = dict(columns)
    results: dict[str, np.ndarray] = {}
    for name, function in table.items():
        results[name] = known[name] = function(known, gen)
    return results

"""NanoAOD v9 branches of the simulated collections.

Names, types, order of magnitude of the stored precision: CMS NanoAOD v9 (``PhysicsTools/NanoAOD``,
``muons_cff.py``, ``jets_cff.py``); the mantissa bits were read back from real files of three
campaigns (the lowest bit that is ever set).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["JET_BRANCHES", "MUON_BRANCHES", "Branch", "branch_names", "round_mantissa"]

FLOAT32_MANTISSA = 23


class Branch(NamedTuple):
    """One column of a collection as it is stored on disk."""

    name: str
    dtype: str
    unit: str
    mantissa_bits: int | None
    doc: str


def _f(name: str, unit: str, bits: int | None, doc: str) -> Branch:
    return Branch(name, "float32", unit, bits, doc)


def _i(name: str, dtype: str, doc: str) -> Branch:
    return Branch(name, dtype, "1", None, doc)


MUON_BRANCHES: tuple[Branch, ...] = (
    _f("dxy", "cm", 10, "signed transverse impact parameter to the first vertex"),
    _f("dxyErr", "cm", 6, "uncertainty of dxy"),
    _f("dxybs", "cm", 10, "signed transverse impact parameter to the beam spot"),
    _f("dz", "cm", 10, "signed longitudinal impact parameter to the first vertex"),
    _f("dzErr", "cm", 6, "uncertainty of dz"),
    _f("eta", "1", 12, "pseudorapidity"),
    _f("ip3d", "cm", 10, "three-dimensional impact parameter to the first vertex"),
    _f("jetPtRelv2", "GeV", 8, "momentum transverse to the closest jet after removing the muon"),
    _f("jetRelIso", "1", 8, "1/ptRatio - 1 in the matched jet, pfRelIso04_all without a jet"),
    _f("mass", "GeV", 10, "mass"),
    _f("miniPFRelIso_all", "1", None, "mini particle-flow relative isolation, total"),
    _f("miniPFRelIso_chg", "1", None, "mini particle-flow relative isolation, charged part"),
    _f("pfRelIso03_all", "1", None, "particle-flow relative isolation within 0.3, total"),
    _f("pfRelIso03_chg", "1", None, "particle-flow relative isolation within 0.3, charged part"),
    _f("pfRelIso04_all", "1", None, "particle-flow relative isolation within 0.4, total"),
    _f("phi", "rad", 12, "azimuth"),
    _f("pt", "GeV", None, "transverse momentum"),
    _f("ptErr", "GeV", 6, "uncertainty of the track pt"),
    _f("segmentComp", "1", 14, "muon segment compatibility"),
    _f("sip3d", "1", 10, "significance of ip3d"),
    _f("softMva", "1", 6, "soft muon score"),
    _f("tkRelIso", "1", 6, "track-based relative isolation within 0.3"),
    _f("mvaLowPt", "1", 14, "low-pt muon score"),
    _f("mvaTTH", "1", 14, "prompt-lepton score of the ttH analysis"),
    _i("charge", "int32", "electric charge"),
    _i("jetIdx", "int32", "index of the associated jet, -1 if none"),
    _i("nStations", "int32", "muon stations matched to the track"),
    _i("nTrackerLayers", "int32", "tracker layers with a measurement"),
    _i("pdgId", "int32", "code assigned by the reconstruction"),
    _i("tightCharge", "int32", "charge criterion from ptErr/pt: 0 fail, 2 pass"),
    _i("highPtId", "uint8", "high-pt cut-based ID: 1 tracker, 2 global"),
    _i("highPurity", "bool", "inner track is of high purity"),
    _i("inTimeMuon", "bool", "in-time muon ID"),
    _i("isGlobal", "bool", "muon is a global muon"),
    _i("isPFcand", "bool", "muon is a particle-flow candidate"),
    _i("isStandalone", "bool", "muon is a standalone muon"),
    _i("isTracker", "bool", "muon is a tracker muon"),
    _i("looseId", "bool", "loose muon"),
    _i("mediumId", "bool", "cut-based ID, medium working point"),
    _i("mediumPromptId", "bool", "cut-based ID, medium prompt working point"),
    _i("miniIsoId", "uint8", "mini isolation: 1 loose, 2 medium, 3 tight, 4 very tight"),
    _i("multiIsoId", "uint8", "multi isolation: 2 medium"),
    _i("mvaId", "uint8", "score-based ID: 1 loose, 2 medium, 3 tight, 4 very tight, 5 tightest"),
    _i("mvaLowPtId", "uint8", "low-pt score ID: 1 loose, 2 medium"),
    _i("pfIsoId", "uint8", "particle-flow isolation: 1 very loose to 6 very very tight"),
    _i("puppiIsoId", "uint8", "PUPPI isolation: 1 loose, 2 medium, 3 tight"),
    _i("softId", "bool", "soft cut-based ID"),
    _i("softMvaId", "bool", "soft score-based ID"),
    _i("tightId", "bool", "cut-based ID, tight working point"),
    _i("tkIsoId", "uint8", "tracker isolation: 1 loose, 2 tight"),
    _i("triggerIdLoose", "bool", "loose trigger ID"),
    _i("genPartIdx", "int32", "index of the matched GenPart, -1 if none"),
    _i("genPartFlav", "uint8", "origin: 1 prompt, 15 tau, 5 b, 4 c, 3 light or unknown, 0 none"),
    _i("cleanmask", "uint8", "cleaning mask with priority to leptons"),
)

JET_BRANCHES: tuple[Branch, ...] = (
    _f("area", "1", 10, "catchment area"),
    _f("btagCSVV2", "1", 10, "CSVv2 b score"),
    _f("btagDeepB", "1", 10, "DeepCSV b+bb score"),
    _f("btagDeepCvB", "1", 10, "DeepCSV c against b+bb"),
    _f("btagDeepCvL", "1", 10, "DeepCSV c against udsg"),
    _f("btagDeepFlavB", "1", 10, "DeepJet b+bb+lepb score"),
    _f("btagDeepFlavCvB", "1", 10, "DeepJet c against b+bb+lepb"),
    _f("btagDeepFlavCvL", "1", 10, "DeepJet c against uds+g"),
    _f("btagDeepFlavQG", "1", 10, "DeepJet g against uds"),
    _f("chEmEF", "1", 6, "charged electromagnetic energy fraction"),
    _f("chFPV0EF", "1", 6, "energy fraction of charged particles from other vertices"),
    _f("chHEF", "1", 6, "charged hadron energy fraction"),
    _f("eta", "1", 12, "pseudorapidity"),
    _f(
        "hfsigmaEtaEta", "1", 10, "eta width of the shower in the forward calorimeter, -1 elsewhere"
    ),
    _f(
        "hfsigmaPhiPhi", "1", 10, "phi width of the shower in the forward calorimeter, -1 elsewhere"
    ),
    _f("mass", "GeV", 10, "mass"),
    _f("muEF", "1", 6, "muon energy fraction"),
    _f("muonSubtrFactor", "1", 6, "1 - (raw pt without muons)/(raw pt)"),
    _f("neEmEF", "1", 6, "neutral electromagnetic energy fraction"),
    _f("neHEF", "1", 6, "neutral hadron energy fraction"),
    _f("phi", "rad", 12, "azimuth"),
    _f("pt", "GeV", 10, "transverse momentum"),
    _f("puIdDisc", "1", 10, "pile-up jet discriminant, 106X training"),
    _f("qgl", "1", 10, "quark-gluon likelihood, -1 where not computed"),
    _f("rawFactor", "1", 6, "1 - (raw pt)/(pt)"),
    _f("bRegCorr", "1", 10, "pt correction of the b-jet regression"),
    _f("bRegRes", "1", 6, "relative resolution of the b-jet regression"),
    _f("cRegCorr", "1", 10, "pt correction of the c-jet regression"),
    _f("cRegRes", "1", 6, "relative resolution of the c-jet regression"),
    _i("electronIdx1", "int32", "index of the first matched electron, -1 if none"),
    _i("electronIdx2", "int32", "index of the second matched electron, -1 if none"),
    _i("hfadjacentEtaStripsSize", "int32", "towers in the strips beside the seed, forward"),
    _i("hfcentralEtaStripSize", "int32", "towers in the strip of the seed, forward"),
    _i("jetId", "int32", "bits: 2 tight, 4 tight with lepton veto"),
    _i("muonIdx1", "int32", "index of the first matched muon, -1 if none"),
    _i("muonIdx2", "int32", "index of the second matched muon, -1 if none"),
    _i("nElectrons", "int32", "electrons in the jet"),
    _i("nMuons", "int32", "muons in the jet"),
    _i("puId", "int32", "bits of the pile-up ID: 4 loose, 2 medium, 1 tight"),
    _i("nConstituents", "uint8", "particles in the jet"),
    _i("genJetIdx", "int32", "index of the matched GenJet, -1 if none"),
    _i("hadronFlavour", "int32", "flavour from ghost-clustered hadrons"),
    _i("partonFlavour", "int32", "flavour from matched partons"),
    _i("cleanmask", "uint8", "cleaning mask with priority to leptons"),
)


def branch_names(branches: tuple[Branch, ...]) -> list[str]:
    """Names of ``branches`` in order.

    Example:
        >>> "pt" in branch_names(MUON_BRANCHES)
        True
    """
    return [branch.name for branch in branches]


def round_mantissa(array: np.ndarray, bits: int | None) -> np.ndarray:
    """Round float32 values to ``bits`` of mantissa, as NanoAOD does to make columns compress.

    Arguments:
        array: Values of any shape, converted to float32.
        bits: Mantissa bits kept, 1 to 22; ``None`` or 23 keeps all.
    Shapes: ``(*)`` -> ``(*)``. Infinities and NaN stay what they are.
    Raises: ValueError if ``bits`` is outside 1 to 23.
    References: ``DataFormats/Math/interface/libminifloat.h`` of CMSSW (rounding to nearest).
    Example:
        >>> float(round_mantissa(np.array([1.2345]), 4)[0])
        1.25
    """
    values = np.ascontiguousarray(array, dtype=np.float32)
    if bits is None or bits == FLOAT32_MANTISSA:
        return values
    if not 1 <= bits < FLOAT32_MANTISSA:
        message = f"mantissa of {bits} bits asked for; give 1 to {FLOAT32_MANTISSA}, or None"
        raise ValueError(message)
    shift = FLOAT32_MANTISSA - bits
    words = values.view(np.uint32)
    half = np.uint32(1 << (shift - 1))
    mask = np.uint32((0xFFFFFFFF >> shift) << shift)
    words = words + half
    words &= mask
    rounded = words.view(np.float32)
    sound = np.isfinite(values)
    sound &= np.isfinite(rounded)
    return rounded if sound.all() else np.where(sound, rounded, values)

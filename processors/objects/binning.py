"""Bins of every validated column; all numbers chosen to show both ends of real distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from processors.histogramming import Binning

__all__ = ["BINNINGS", "CORRELATIONS", "binning"]

PI = math.pi
INCLUSIVE = 1.0 + 1e-6
"""Upper edge that keeps an exact one inside the last bin."""


def _flag(label: str) -> Binning:
    return Binning(2, -0.5, 1.5, label)


def _count(last: int, label: str) -> Binning:
    return Binning(last + 1, -0.5, last + 0.5, label)


def _log(low: float, high: float, label: str, bins: int = 50) -> Binning:
    return Binning(bins, low, high, label, geometric=True)


def _score(label: str) -> Binning:
    return Binning(100, 0.0, INCLUSIVE, label)


def _fraction(label: str) -> Binning:
    return Binning(50, 0.0, INCLUSIVE, label)


ISOLATION = (1e-3, 20.0)

MUON: Mapping[str, Binning] = {
    "pt": _log(3.0, 500.0, r"muon $p_T$ [GeV]"),
    "eta": Binning(50, -2.5, 2.5, r"muon $\eta$"),
    "phi": Binning(36, -PI, PI, r"muon $\phi$"),
    "ptErr": _log(0.01, 100.0, r"muon $p_T$ error [GeV]"),
    "dxy": Binning(60, -0.03, 0.03, r"muon $d_{xy}$ [cm]"),
    "dxyErr": _log(5e-4, 0.5, r"muon $d_{xy}$ error [cm]"),
    "dxybs": Binning(60, -0.03, 0.03, r"muon $d_{xy}$ to beam spot [cm]"),
    "dz": Binning(60, -0.06, 0.06, r"muon $d_z$ [cm]"),
    "dzErr": _log(1e-3, 1.0, r"muon $d_z$ error [cm]"),
    "ip3d": _log(1e-4, 10.0, "muon 3D impact parameter [cm]"),
    "sip3d": _log(0.05, 1e3, "muon 3D impact parameter significance"),
    "pfRelIso03_chg": _log(*ISOLATION, "muon charged isolation, R = 0.3"),
    "pfRelIso03_all": _log(*ISOLATION, "muon isolation, R = 0.3"),
    "pfRelIso04_all": _log(*ISOLATION, "muon isolation, R = 0.4"),
    "miniPFRelIso_chg": _log(*ISOLATION, "muon charged mini-isolation"),
    "miniPFRelIso_all": _log(*ISOLATION, "muon mini-isolation"),
    "tkRelIso": _log(*ISOLATION, "muon track isolation"),
    "jetPtRelv2": _log(0.05, 200.0, r"muon $p_T$ relative to jet [GeV]"),
    "jetRelIso": Binning(60, -0.5, 5.5, "muon jet isolation"),
    "segmentComp": _fraction("muon segment compatibility"),
    "softMva": Binning(50, -1.0, 1.0, "soft muon score"),
    "mvaLowPt": Binning(50, -1.0, 1.0, r"low-$p_T$ muon score"),
    "mvaTTH": Binning(50, -1.0, 1.0, "prompt muon score"),
    "charge": Binning(3, -1.5, 1.5, "muon charge"),
    "nStations": _count(6, "matched muon stations"),
    "nTrackerLayers": _count(20, "tracker layers"),
    "tightCharge": _count(2, "tight charge"),
    "highPtId": _count(2, r"high-$p_T$ ID"),
    "miniIsoId": _count(4, "mini-isolation ID"),
    "multiIsoId": _count(2, "multi-isolation ID"),
    "mvaId": _count(5, "score-based ID"),
    "mvaLowPtId": _count(2, r"low-$p_T$ score ID"),
    "pfIsoId": _count(6, "isolation ID"),
    "puppiIsoId": _count(3, "PUPPI isolation ID"),
    "tkIsoId": _count(2, "track isolation ID"),
    **{
        name: _flag(f"muon {name}")
        for name in (
            "highPurity",
            "inTimeMuon",
            "isGlobal",
            "isPFcand",
            "isStandalone",
            "isTracker",
            "looseId",
            "mediumId",
            "mediumPromptId",
            "softId",
            "softMvaId",
            "tightId",
            "triggerIdLoose",
            "cleanmask",
        )
    },
}

JET: Mapping[str, Binning] = {
    "pt": _log(15.0, 1000.0, r"jet $p_T$ [GeV]"),
    "eta": Binning(52, -5.2, 5.2, r"jet $\eta$"),
    "phi": Binning(36, -PI, PI, r"jet $\phi$"),
    "mass": _log(0.5, 200.0, "jet mass [GeV]"),
    "area": Binning(50, 0.2, 0.8, "jet area"),
    "rawFactor": Binning(60, -0.6, 0.6, r"$1 - p_T^{raw}/p_T$"),
    "nConstituents": Binning(80, 0.5, 80.5, "jet constituents"),
    "chHEF": _fraction("charged hadron fraction"),
    "neHEF": _fraction("neutral hadron fraction"),
    "chEmEF": _fraction("charged electromagnetic fraction"),
    "neEmEF": _fraction("neutral electromagnetic fraction"),
    "muEF": _fraction("muon fraction"),
    "chFPV0EF": Binning(50, 0.0, 1.25, "charged fraction from other vertices"),
    "muonSubtrFactor": _fraction("muon-subtracted fraction"),
    "hfsigmaEtaEta": Binning(50, 0.0, 0.25, r"HF $\sigma_{\eta\eta}$"),
    "hfsigmaPhiPhi": Binning(50, 0.0, 0.25, r"HF $\sigma_{\phi\phi}$"),
    "puIdDisc": Binning(50, -1.0, 1.0, "pile-up jet score"),
    "qgl": Binning(50, 0.0, INCLUSIVE, "quark-gluon likelihood"),
    "btagCSVV2": _score("CSVv2"),
    "btagDeepB": _score("DeepCSV b"),
    "btagDeepCvB": _score("DeepCSV c vs b"),
    "btagDeepCvL": _score("DeepCSV c vs light"),
    "btagDeepFlavB": _score("DeepJet b"),
    "btagDeepFlavCvB": _score("DeepJet c vs b"),
    "btagDeepFlavCvL": _score("DeepJet c vs light"),
    "btagDeepFlavQG": _score("DeepJet gluon vs quark"),
    "bRegCorr": Binning(60, 0.5, 2.0, "b regression correction"),
    "bRegRes": Binning(60, 0.0, 0.6, "b regression resolution"),
    "cRegCorr": Binning(60, 0.5, 2.0, "c regression correction"),
    "cRegRes": Binning(60, 0.0, 0.6, "c regression resolution"),
    "nMuons": _count(4, "muons in jet"),
    "nElectrons": _count(4, "electrons in jet"),
    "hfadjacentEtaStripsSize": _count(5, "HF adjacent strips size"),
    "hfcentralEtaStripSize": _count(5, "HF central strip size"),
    "cleanmask": _flag("jet cleanmask"),
    "jetId": _count(7, "jet ID"),
    "puId": _count(7, "pile-up jet ID"),
    "hadronFlavour": _count(5, "hadron flavour"),
    "partonFlavour": Binning(44, -22.5, 21.5, "parton flavour"),
}

BINNINGS: Mapping[str, Mapping[str, Binning]] = {"Muon": MUON, "Jet": JET}

CORRELATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Muon": (("dxy", "dxybs"), ("pfRelIso04_all", "miniPFRelIso_all"), ("mvaTTH", "softMva")),
    "Jet": (("btagDeepFlavB", "btagDeepB"), ("chHEF", "neEmEF"), ("nConstituents", "qgl")),
}
"""Pairs of columns of which the joint distribution is kept."""


def binning(collection: str, name: str) -> Binning:
    """Bins of one column.

    Raises: KeyError when the column is not validated.
    """
    return BINNINGS[collection][name]

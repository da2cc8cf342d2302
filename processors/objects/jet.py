"""The AK4 jet: generator jets to NanoAOD v9 ``Jet``.

Maps follow cms-flashsim/extractor, ``preprocessing`` of the jets; spikes and relations were read
off real files.
"""

from __future__ import annotations

import math

import numpy as np

from flows.features import (
    Affine,
    Arctan,
    Log,
    Log1p,
    Logit,
    QuantileNormal,
    ResponseAbove,
    Standardise,
)
from processors.objects.columns import JET_BRANCHES
from processors.objects.derived import JET_DERIVED
from processors.objects.relations import Columns, Difference, Ratio, Share
from processors.objects.table import Categorical, Condition, Derived, ObjectTable, Sampled
from processors.objects.vocabulary import HADRON_FLAVOURS, PARTON_FLAVOURS, PILEUP_CONDITIONS

__all__ = ["JET", "JET_THRESHOLD"]

JET_THRESHOLD = 15.0
"""GeV; NanoAOD v9 ``jets_cff`` keeps jets above."""
FLAG = (0, 1)
SCORE = (Logit(1e-6), QuantileNormal())
FRACTION = (Logit(1e-6), QuantileNormal())
UNIT = (0.0, 1.0)
FAILED = (-1.0,)
"""Value of a discriminant that could not be computed."""


def fractions_exceed_one(columns: Columns, gen: Columns) -> np.ndarray:
    """Whether charged and neutral energy fractions leave less than nothing for ``neHEF``."""
    taken = columns["chHEF"].astype(np.float64) + columns["chEmEF"]
    return np.asarray(taken + columns["neEmEF"] + columns["muEF"] > 1.0)


EXCESSES = {"neHEF": fractions_exceed_one}

CONDITIONS = (
    *(
        condition
        for muon in ("ClosestMuon", "SecondClosestMuon")
        for condition in (
            Condition(f"{muon}_dr", "1", (Standardise(),)),
            Condition(f"{muon}_deta", "1", (Arctan(5.0), Standardise())),
            Condition(f"{muon}_dphi", "rad", (Arctan(5.0), Standardise())),
            Condition(f"{muon}_pt", "GeV", (Log1p(), Standardise())),
        )
    ),
    Condition("GenJet_eta", "1", (Standardise(),)),
    Condition("GenJet_mass", "GeV", (Log1p(), Standardise())),
    Condition("GenJet_phi", "rad", (Standardise(),)),
    Condition("GenJet_pt", "GeV", (Log(), Standardise())),
    *(Condition(f"GenJet_parton_{flavour}", "1") for flavour in PARTON_FLAVOURS),
    *(Condition(f"GenJet_hadron_{flavour}", "1") for flavour in HADRON_FLAVOURS),
    *PILEUP_CONDITIONS,
)

COLUMNS = (
    Sampled(
        "pt", "GeV", (ResponseAbove("GenJet_pt", JET_THRESHOLD, softness=5.0), QuantileNormal())
    ),
    Sampled("eta", "1", (Arctan(20.0), QuantileNormal()), Difference("eta")),
    Sampled("phi", "rad", (Arctan(20.0), QuantileNormal()), Difference("phi", 2.0 * math.pi)),
    Sampled("mass", "1", (Log(), QuantileNormal()), Ratio("mass", floor=0.1)),
    Sampled("area", "1", (QuantileNormal(),)),
    Sampled("rawFactor", "1", (QuantileNormal(),)),
    Sampled("nConstituents", "1", (Log(), QuantileNormal())),
    Sampled("chHEF", "1", FRACTION, spikes=(0.0, 1.0), bounds=UNIT),
    Sampled("chEmEF", "1", FRACTION, Share(("chHEF",)), spikes=(0.0, 1.0), bounds=UNIT),
    Sampled("muEF", "1", FRACTION, Share(("chHEF", "chEmEF")), spikes=(0.0, 1.0), bounds=UNIT),
    Sampled(
        "neEmEF", "1", FRACTION, Share(("chHEF", "chEmEF", "muEF")), spikes=(0.0, 1.0), bounds=UNIT
    ),
    Sampled("muonSubtrFactor", "1", FRACTION, spikes=(0.0,), tolerance=1e-6, bounds=UNIT),
    Sampled("chFPV0EF", "1", (Log(), QuantileNormal()), spikes=(0.0,)),
    Sampled("hfsigmaEtaEta", "1", (Log(), QuantileNormal()), spikes=FAILED),
    Sampled("hfsigmaPhiPhi", "1", (Log(), QuantileNormal()), spikes=FAILED),
    Sampled("puIdDisc", "1", (Affine(0.5, 0.5), *SCORE), bounds=(-1.0, 1.0)),
    Sampled("qgl", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagCSVV2", "1", SCORE, spikes=(-10.0,), bounds=UNIT),
    Sampled("btagDeepB", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagDeepCvB", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagDeepCvL", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagDeepFlavB", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagDeepFlavCvB", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagDeepFlavCvL", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("btagDeepFlavQG", "1", SCORE, spikes=FAILED, bounds=UNIT),
    Sampled("bRegCorr", "1", (Log(), QuantileNormal())),
    Sampled("bRegRes", "1", (Log(), QuantileNormal())),
    Sampled("cRegCorr", "1", (Log(), QuantileNormal())),
    Sampled("cRegRes", "1", (Log(), QuantileNormal())),
    Categorical("nMuons", tuple(range(5))),
    Categorical("nElectrons", tuple(range(5))),
    Categorical("hfadjacentEtaStripsSize", tuple(range(6))),
    Categorical("hfcentralEtaStripSize", tuple(range(6))),
    Categorical("cleanmask", FLAG),
    *(Derived(name, excess=EXCESSES.get(name)) for name in JET_DERIVED),
)

JET = ObjectTable(
    name="jet",
    collection="Jet",
    source="GenJet",
    match="genJetIdx",
    threshold=JET_THRESHOLD,
    conditions=CONDITIONS,
    columns=COLUMNS,
    branches=JET_BRANCHES,
    functions=JET_DERIVED,
)

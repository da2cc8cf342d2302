"""The muon: last-copy generator muons to NanoAOD v9 ``Muon``.

Maps of the impact parameters and isolations follow francesco-vaselli/FlashSim,
``preprocessing/muons_preprocessing.py``; spikes and relations were read off real files.
"""

from __future__ import annotations

import math

from flows.features import (
    Affine,
    Arctan,
    FromRounded,
    Log,
    Log1p,
    Logit,
    QuantileNormal,
    ResponseAbove,
    Standardise,
)
from processors.objects.columns import MUON_BRANCHES
from processors.objects.derived import MUON_DERIVED
from processors.objects.relations import Beside, Difference, Excess, Ratio, SignOf
from processors.objects.statusflags import STATUS_FLAGS
from processors.objects.table import Categorical, Condition, Derived, ObjectTable, Sampled
from processors.objects.vocabulary import (
    HADRON_FLAVOURS,
    PARTON_FLAVOURS,
    PILEUP_CONDITIONS,
)

__all__ = ["MUON", "MUON_MASS", "MUON_THRESHOLD"]

MUON_THRESHOLD = 3.0
"""GeV; NanoAOD v9 ``muons_cff`` keeps muons above."""
MUON_MASS = 0.1056583755
"""GeV; Particle Data Group 2022."""
FLAG = (0, 1)
GENERATOR_BITS, ANGLE = 8, 4e-4
"""Mantissa bits of generator angles (NanoAOD ``genparticles_cff``); resolution of a track, rad."""
SCORE = (Affine(0.5, 0.5), Logit(1e-6), QuantileNormal())
"""For scores between -1 and 1 that pile up at both ends."""

CONDITIONS = (
    Condition("GenMuon_eta", "1", (Standardise(),)),
    Condition("GenMuon_phi", "rad", (Standardise(),)),
    Condition("GenMuon_pt", "GeV", (Log(), Standardise())),
    Condition("GenMuon_charge", "1"),
    *(Condition(f"GenMuon_{flag}", "1") for flag in STATUS_FLAGS),
    Condition("ClosestJet_dr", "1", (Standardise(),)),
    Condition("ClosestJet_deta", "1", (Arctan(5.0), Standardise())),
    Condition("ClosestJet_dphi", "rad", (Arctan(5.0), Standardise())),
    Condition("ClosestJet_pt", "GeV", (Log1p(), Standardise())),
    Condition("ClosestJet_mass", "GeV", (Log1p(), Standardise())),
    *(Condition(f"ClosestJet_parton_{flavour}", "1") for flavour in PARTON_FLAVOURS),
    *(Condition(f"ClosestJet_hadron_{flavour}", "1") for flavour in HADRON_FLAVOURS),
    *PILEUP_CONDITIONS,
)

COLUMNS = (
    Sampled(
        "pt",
        "GeV",
        (ResponseAbove("GenMuon_pt", MUON_THRESHOLD, softness=1.0), Arctan(10.0), QuantileNormal()),
    ),
    Sampled(
        "eta",
        "1",
        (FromRounded("GenMuon_eta", GENERATOR_BITS, ANGLE), QuantileNormal()),
        Difference("eta"),
    ),
    Sampled(
        "phi",
        "rad",
        (FromRounded("GenMuon_phi", GENERATOR_BITS, ANGLE), QuantileNormal()),
        Difference("phi", 2.0 * math.pi),
    ),
    Sampled("ptErr", "1", (Log(), QuantileNormal()), Ratio("pt")),
    Sampled("dxy", "cm", (Arctan(150.0), QuantileNormal())),
    Sampled("dxyErr", "cm", (Log(), QuantileNormal())),
    Sampled("dxybs", "cm", (Arctan(150.0), QuantileNormal())),
    Sampled("dz", "cm", (Arctan(50.0), QuantileNormal())),
    Sampled("dzErr", "cm", (Log(), QuantileNormal())),
    Sampled("pfRelIso03_chg", "1", (Log(), QuantileNormal()), spikes=(0.0,)),
    Sampled(
        "pfRelIso03_all",
        "1",
        (Log(), QuantileNormal()),
        Excess("pfRelIso03_chg"),
        spikes=(0.0,),
        tolerance=1e-6,
    ),
    Sampled("pfRelIso04_all", "1", (Log(), QuantileNormal()), spikes=(0.0,)),
    Sampled("miniPFRelIso_chg", "1", (Log(), QuantileNormal()), spikes=(0.0,)),
    Sampled(
        "miniPFRelIso_all",
        "1",
        (Log(), QuantileNormal()),
        Excess("miniPFRelIso_chg"),
        spikes=(0.0,),
        tolerance=1e-6,
    ),
    Sampled("tkRelIso", "1", (Log(), QuantileNormal()), spikes=(0.0,)),
    Sampled("jetPtRelv2", "GeV", (Log(), QuantileNormal()), spikes=(0.0,)),
    Sampled(
        "jetRelIso",
        "1",
        (Arctan(10.0), QuantileNormal()),
        Beside("pfRelIso04_all", bits=8),
        spikes=(0.0,),
        tolerance=1e-6,
    ),
    Sampled(
        "segmentComp", "1", (Logit(1e-6), QuantileNormal()), spikes=(0.0, 1.0), bounds=(0.0, 1.0)
    ),
    Sampled("softMva", "1", SCORE, spikes=(-1.0,), bounds=(-1.0, 1.0)),
    Sampled("mvaLowPt", "1", SCORE, bounds=(-1.0, 1.0)),
    Sampled("mvaTTH", "1", SCORE, bounds=(-1.0, 1.0)),
    Categorical("charge", (-1, 1), SignOf("charge")),
    Categorical("isGlobal", FLAG),
    Categorical("isTracker", FLAG),
    Categorical("isStandalone", FLAG),
    Categorical("isPFcand", FLAG),
    Categorical("highPurity", FLAG),
    Categorical("inTimeMuon", FLAG),
    Categorical("nStations", tuple(range(7))),
    Categorical("nTrackerLayers", tuple(range(21))),
    Categorical("mediumId", FLAG),
    Categorical("mvaId", tuple(range(6))),
    Categorical("puppiIsoId", tuple(range(4))),
    Categorical("triggerIdLoose", FLAG),
    Categorical("cleanmask", FLAG),
    *(Derived(name) for name in MUON_DERIVED),
)

MUON = ObjectTable(
    name="muon",
    collection="Muon",
    source="GenPart",
    match="genPartIdx",
    threshold=MUON_THRESHOLD,
    conditions=CONDITIONS,
    columns=COLUMNS,
    branches=MUON_BRANCHES,
    functions=MUON_DERIVED,
)

"""Identification of muons: flags, hit counts, scores."""

from __future__ import annotations

import numpy as np

from samples.detector.shapes import bernoulli, expit, lognormal, tailed
from samples.detector.tables import Flat

__all__ = ["with_flags", "with_jet_scores", "with_scores"]

# Chosen, to give the fractions and quantiles of the v12, v15, UL17 files.
GLOBAL_PT_GEV, GLOBAL_SLOPE = 3.3, 0.16  # in ln pt
LAYERS_CENTRAL, LAYERS_ENDCAP, LAYERS_SPREAD = 13.2, 13.6, 1.35
LAYERS_RANGE = (3, 18)
SEGMENT_ONE, SEGMENT_ZERO = 0.20, 0.006
SEGMENT_MEAN, SEGMENT_SPREAD = 1.75, 1.15
SOFT_FAILED = -1.0
SOFT_MAX, SOFT_MIN = 0.80, -0.40
TRACK_JET_DR = 0.4


def with_flags(muons: Flat, rng: np.random.Generator) -> Flat:
    """Add the boolean flags, nStations, nTrackerLayers."""
    n, pt, eta = len(muons), muons["true_pt"], np.abs(muons["eta"])
    fake, quality = muons["gen_row"] < 0, muons["quality"]
    reach = np.log(pt * (1 + 0.35 * expit((eta - 1.2) / 0.15)) / GLOBAL_PT_GEV) / GLOBAL_SLOPE
    is_global = bernoulli(rng, 0.992 * expit(reach - 0.3 * quality) * np.where(fake, 0.35, 1.0))
    standalone = is_global | bernoulli(rng, np.full(n, 0.02))
    tracker = bernoulli(rng, np.where(is_global, 0.992, 0.975))
    flow = bernoulli(rng, np.where(fake, 0.30, expit(4.2 + 1.5 * is_global - 0.4 * quality)))
    odds = np.log(pt / 5.0) * 1.6 + 1.2 * is_global - 0.35 * quality - 1.6 * fake
    stations = 1 + rng.binomial(3, np.clip(expit(0.3 + 0.55 * odds), 0.02, 0.98))
    stations = np.where(tracker, stations, rng.binomial(2, 0.3, n))
    mean = LAYERS_CENTRAL + (LAYERS_ENDCAP - LAYERS_CENTRAL) * expit((eta - 1.4) / 0.2)
    mean = mean - 1.2 * np.exp(-0.5 * ((eta - 1.0) / 0.25) ** 2) - 0.7 * quality - 1.0 * fake
    layers = np.rint(mean + LAYERS_SPREAD * rng.standard_normal(n))
    return muons.with_columns(
        {
            "isGlobal": is_global, "isStandalone": standalone, "isTracker": tracker,
            "isPFcand": flow, "nStations": stations,
            "nTrackerLayers": np.clip(layers, *LAYERS_RANGE).astype(np.int64),
            "highPurity": bernoulli(rng, np.where(fake, 0.96, 0.9985)),
            "inTimeMuon": bernoulli(rng, np.where(fake, 0.97, 0.998)),
        }
    )  # fmt: skip


def with_scores(muons: Flat, rng: np.random.Generator) -> Flat:
    """Add segmentComp, softMva, mediumId, mvaId, triggerIdLoose."""
    n, quality = len(muons), muons["quality"]
    fake, is_global = muons["gen_row"] < 0, muons["isGlobal"]
    stations, pt = muons["nStations"], muons["pt"]
    latent = SEGMENT_MEAN + 0.55 * (stations - 3) - 0.3 * quality - 1.8 * fake
    latent = latent + SEGMENT_SPREAD * tailed(rng, n, (1.5, 0.2), (1.8, 0.1))
    full = bernoulli(rng, SEGMENT_ONE * expit((latent - 0.8) / 0.5) * 1.3)
    none = bernoulli(rng, np.minimum(SEGMENT_ZERO * np.exp(-0.6 * (latent - 1.5)), 0.3)) & ~full
    segment = np.where(full, 1.0, np.where(none, 0.0, expit(latent)))
    good = 1.28 + 0.5 * (segment - 0.85) * 2 + 0.12 * (stations - 3) - 0.22 * quality
    good = good + 0.10 * np.log(pt / 15.0) - 0.9 * fake
    soft = SOFT_MIN + (SOFT_MAX - SOFT_MIN) * expit(1.4 * good + 0.32 * tailed(
        rng, n, (1.0, 0.5), (1.5, 0.1)
    ))  # fmt: skip
    soft = np.where(is_global & bernoulli(rng, np.full(n, 0.985)), soft, SOFT_FAILED)
    medium = (1.2 + 5.0 * (segment - 0.35) + 2.2 * is_global + 0.3 * (stations - 2)
              - 0.5 * quality - 2.0 * fake)  # fmt: skip
    medium_id = bernoulli(rng, expit(medium)) & muons["isPFcand"]
    identity = 0.9 * good + 0.5 * is_global + 0.35 * rng.standard_normal(n)
    level = np.searchsorted((0.75, 0.95, 1.15, 1.3, 1.45), identity) * medium_id
    trigger = bernoulli(rng, expit(3.4 + 1.2 * (stations - 3) - 1.0 * fake + 1.0 * is_global))
    return muons.with_columns(
        {
            "segmentComp": segment, "softMva": soft, "mediumId": medium_id, "mvaId": level,
            "triggerIdLoose": trigger & muons["isTracker"], "good": good,
        }
    )  # fmt: skip


def with_jet_scores(muons: Flat, jets: Flat, rng: np.random.Generator) -> Flat:
    """Add jetRelIso, jetPtRelv2, mvaTTH, mvaLowPt, puppiIsoId, cleanmask from the matched jets.

    Needs ``jet`` (row of the associated reconstructed jet, -1 for none) beside the isolations.
    """
    n, pt, row = len(muons), muons["pt"], muons["jet_reco_row"]
    near, safe = row >= 0, np.maximum(row, 0)
    has = len(jets) > 0
    jet_pt = np.where(near, jets["pt"][safe] if has else 0.0, 0.0)
    tag = np.where(near, jets["btagDeepFlavB"][safe] if has else 0.0, 0.1)
    excess = np.maximum(jet_pt / pt - 1.0, 0.0) + 0.03
    around = np.maximum(muons["pfRelIso04_all"], 0.0)
    relative = np.where(near, 0.6 * excess + 0.4 * around, around) * lognormal(rng, 0.10, n)
    relative = np.where(near, relative + 0.015 * rng.standard_normal(n) ** 2, relative)
    distance = np.where(near, muons["jet_reco_dr"], 0.0)
    rest = relative * pt
    across = pt * distance * lognormal(rng, 0.25, n) * (1.4 + 1.6 * pt / (rest + 2.0))
    ceiling = 0.55 * pt
    across = across * ceiling / (across + ceiling) + 0.05 * lognormal(rng, 0.5, n)
    significance = np.log1p(np.abs(muons["dxy"]) / muons["dxyErr"])
    prompt = 3.9 - 1.8 * np.log1p(6.0 * muons["miniPFRelIso_all"]) - 1.0 * np.log1p(relative)
    prompt = prompt - 1.0 * significance - 2.2 * tag + 0.5 * np.log(pt / 25.0)
    prompt = prompt + 0.6 * (muons["good"] - 1.0)
    common = rng.standard_normal(n)
    tth = 1.45 * prompt + 0.7 * common + 0.6 * rng.standard_normal(n)
    low = 1.50 * prompt + 0.5 * common + 0.8 * rng.standard_normal(n)
    puppi = around * lognormal(rng, 0.3, n) + 0.03 * rng.random(n)
    level = 3 - np.searchsorted((0.10, 0.18, 0.30), puppi)
    clean = bernoulli(rng, expit(2.5 + 1.2 * np.tanh(prompt) + 0.8 * muons["isPFcand"]))
    return muons.with_columns(
        {
            "jetRelIso": relative, "jetPtRelv2": np.where(near, across, 0.0),
            "mvaTTH": np.tanh(0.5 * tth), "mvaLowPt": np.tanh(0.5 * low),
            "puppiIsoId": np.clip(level, 0, 3), "cleanmask": clean,
        }
    )  # fmt: skip

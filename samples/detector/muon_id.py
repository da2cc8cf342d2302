"""Identification of muons: flags, hit counts, scores."""

from __future__ import annotations

import numpy as np

from samples.detector.shapes import bernoulli, expit, lognormal, tailed
from samples.detector.tables import Flat

__all__ = ["with_flags", "with_jet_scores", "with_scores"]

# Chosen, to give the fractions and quantiles of the v12, v15, UL17 files.
GLOBAL_PT_GEV, GLOBAL_SLOPE = 3.3, 0.16  # in ln pt
LAYERS_CENTRAL, LAYERS_ENDCAP, LAYERS_SPREAD = 13.2, 13.6, 1.35
LAYERS_RANGE, LAYERS_LN_PT = (3, 18), 0.15
SEGMENT_ONE, SEGMENT_ZERO = 0.20, 0.006
SEGMENT_MEAN, SEGMENT_SPREAD = 1.7, 0.95
SEGMENT_PER_STATION = 1.0
POOR_RATE, POOR_PT_GEV, POOR_SLOPE, POOR_FLOOR = 0.19, 6.5, 0.4, 0.003  # tracks with few hits
POOR_FAKES = 0.55
SOFT_FAILED = -1.0
SOFT_MAX, SOFT_MIN = 0.80, -0.40
SCORE_KNEE = 3.5  # below zero scores grow with a logarithm, else they would saturate at -1
EXCESS_WIDTH = 0.08  # smooth start of jetRelIso where the jet is the muon
SOFT_JET_RATE = 0.7  # muons whose jet is below the stored threshold


def with_flags(muons: Flat, rng: np.random.Generator) -> Flat:
    """Add the boolean flags, nStations, nTrackerLayers."""
    n, pt, eta = len(muons), muons["true_pt"], np.abs(muons["eta"])
    fake, quality = muons["gen_row"] < 0, muons["quality"]
    reach = np.log(pt * (1 + 0.35 * expit((eta - 1.2) / 0.15)) / GLOBAL_PT_GEV) / GLOBAL_SLOPE
    poor = POOR_FLOOR + POOR_RATE * expit(np.log(POOR_PT_GEV / pt) / POOR_SLOPE + 0.3 * quality)
    poor = bernoulli(rng, np.where(fake, POOR_FAKES, poor))
    is_global = 0.997 * expit(reach + 1.0 - 0.3 * quality) * np.where(poor, 0.35, 1.0)
    is_global = bernoulli(rng, is_global)
    standalone = is_global | bernoulli(rng, np.full(n, 0.02))
    tracker = ~is_global | bernoulli(rng, np.where(poor, 0.60, 0.998))
    flow = expit(5.5 - 3.2 * poor - 1.2 * ~is_global - 0.4 * quality - 1.5 * fake)
    flow = bernoulli(rng, flow)
    odds = np.log(pt / 5.0) * 0.75 + 1.2 * is_global - 0.35 * quality - 1.0 * fake - 2.5 * poor
    stations = 1 + rng.binomial(3, np.clip(expit(0.35 + 0.55 * odds), 0.02, 0.98))
    stations = np.where(tracker, stations, rng.binomial(2, 0.3, n))
    mean = LAYERS_CENTRAL + (LAYERS_ENDCAP - LAYERS_CENTRAL) * expit((eta - 1.4) / 0.2)
    mean = mean - 1.2 * np.exp(-0.5 * ((eta - 1.0) / 0.25) ** 2) - 0.7 * quality - 1.0 * fake
    mean = mean + LAYERS_LN_PT * np.log(pt / 15.0)
    layers = np.rint(mean + LAYERS_SPREAD * rng.standard_normal(n))
    return muons.with_columns(
        {
            "poor": poor, "isGlobal": is_global, "isStandalone": standalone, "isTracker": tracker,
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
    poor = muons["poor"]
    latent = SEGMENT_MEAN + SEGMENT_PER_STATION * (stations - 3) - 0.3 * quality - 1.2 * poor
    latent = latent + SEGMENT_SPREAD * tailed(rng, n, (1.5, 0.2), (1.8, 0.1))
    full = bernoulli(rng, SEGMENT_ONE * expit((latent - 0.8) / 0.5) * 1.3)
    none = bernoulli(rng, np.minimum(SEGMENT_ZERO * np.exp(-0.6 * (latent - 1.5)), 0.3)) & ~full
    segment = np.where(full, 1.0, np.where(none, 0.0, expit(latent)))
    good = 1.42 + 0.7 * (segment - 0.85) + 0.08 * (stations - 3) - 0.22 * quality
    good = good + 0.10 * np.log(pt / 15.0) - 0.5 * fake - 0.5 * poor
    soft = SOFT_MIN + (SOFT_MAX - SOFT_MIN) * expit(1.4 * good + 0.32 * tailed(
        rng, n, (1.0, 0.5), (1.5, 0.1)
    ))  # fmt: skip
    soft = np.where(is_global & bernoulli(rng, np.full(n, 0.985)), soft, SOFT_FAILED)
    medium = 0.8 + 6.0 * (segment - 0.5) + 3.5 * is_global - 0.5 * quality - 3.5 * poor
    trigger = bernoulli(rng, expit(5.0 + 0.8 * (stations - 3) - 1.5 * muons["poor"]))
    trigger &= muons["isTracker"]
    medium_id = bernoulli(rng, expit(medium - 3.0 * ~trigger))
    medium_id &= muons["isPFcand"] & muons["isTracker"]
    identity = 0.9 * good + 0.5 * is_global + 0.35 * rng.standard_normal(n)
    level = np.searchsorted((0.75, 0.95, 1.15, 1.3, 1.45), identity) * medium_id
    return muons.with_columns(
        {
            "segmentComp": segment, "softMva": soft, "mediumId": medium_id, "mvaId": level,
            "triggerIdLoose": trigger, "good": good,
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
    excess = EXCESS_WIDTH * np.logaddexp(0.0, (jet_pt / pt - 1.0) / EXCESS_WIDTH)
    around = np.maximum(muons["pfRelIso04_all"], 0.0)
    relative = np.where(near, 0.6 * excess + 0.4 * around, around) * lognormal(rng, 0.10, n)
    relative = np.where(near, relative + 0.015 * rng.standard_normal(n) ** 2, relative)
    soft = ~near & bernoulli(rng, np.full(n, SOFT_JET_RATE))
    distance = np.where(near, muons["jet_reco_dr"], 0.1 * lognormal(rng, 0.6, n))
    rest = relative * pt
    across = pt * distance * lognormal(rng, 0.25, n) * (1.4 + 1.6 * pt / (rest + 2.0))
    ceiling = 0.55 * pt
    across = across * ceiling / (across + ceiling) + 0.05 * lognormal(rng, 0.5, n)
    significance = np.log1p(np.abs(muons["dxy"]) / muons["dxyErr"])
    prompt = 4.3 - 1.8 * np.log1p(6.0 * muons["miniPFRelIso_all"]) - 1.0 * np.log1p(relative)
    prompt = prompt - 1.35 * significance - 3.2 * tag + 0.5 * np.log(pt / 25.0)
    prompt = prompt + 0.6 * (muons["good"] - 1.0)
    below = SCORE_KNEE * np.log1p(np.maximum(-prompt, 0.0) / SCORE_KNEE)
    prompt = np.where(prompt < 0, -below, prompt)
    common = rng.standard_normal(n)
    tth = 1.45 * prompt + 0.7 * common + 0.6 * rng.standard_normal(n)
    low = 1.50 * prompt + 0.5 * common + 0.8 * rng.standard_normal(n)
    puppi = around * lognormal(rng, 0.3, n) + 0.03 * rng.random(n)
    level = 3 - np.searchsorted((0.10, 0.18, 0.30), puppi)
    clean = bernoulli(rng, expit(2.5 + 1.2 * np.tanh(prompt) + 0.8 * muons["isPFcand"]))
    return muons.with_columns(
        {
            "jetRelIso": relative, "jetPtRelv2": np.where(near | soft, across, 0.0),
            "mvaTTH": np.tanh(0.5 * tth), "mvaLowPt": np.tanh(0.5 * low),
            "puppiIsoId": np.clip(level, 0, 3), "cleanmask": clean,
        }
    )  # fmt: skip

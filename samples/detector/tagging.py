"""Flavour, quark-gluon, pile-up scores of jets."""

from __future__ import annotations

import numpy as np

from samples.detector.composition import Deposits
from samples.detector.event import EventState
from samples.detector.shapes import bernoulli, expit, lognormal, stretch, tailed
from samples.detector.tables import Flat

__all__ = ["with_tags"]

# DeepJet-like: four logits (b, c, uds, g). Means per true flavour (hadron flavour 5, 4, else parton
# 21, else quark), spreads and slopes chosen to give the quantiles of the v12 ttbar file.
CLASSES = ("b", "c", "uds", "g")
MEANS = {
    "b": (5.7, 2.6, -0.30, 0.15),
    "c": (0.45, 3.2, 0.15, 0.70),
    "uds": (-3.2, -1.75, -0.05, 0.55),
    "g": (-3.1, -1.75, -0.5, 1.3),
}
DECAY_LENGTH_CM, DECAY_SLOPE = 0.25, 1.4  # of ln lxy
TRACKS_SLOPE, TRACKS_MEAN = 1.9, 1.3  # of ln(1 + displaced tracks)
LIGHT_TRACKS_SLOPE = 0.35  # strange decays
VERTEX_MISSED = (0.17, 0.48)  # b, c jets whose displaced vertex is not found
VERTEX_MISSED_SHIFT = (5.2, 4.2)
B_EVIDENCE, C_EVIDENCE = (1.0, 0.40, 0.0, 0.0), (0.45, 1.0, 0.0, 0.0)  # logits per evidence
LOGIT_SPREAD = {"b": (1.2, 0.6, 0.45, 0.45), "c": (1.0, 0.8, 0.45, 0.45),
                "uds": (0.5, 0.18, 0.4, 0.4), "g": (0.5, 0.18, 0.4, 0.4)}  # fmt: skip
MISTAG_TAIL = (0.6, 0.70)
B_TAIL_HEAVY, B_TAIL_LIGHT, C_TAIL_HEAVY, C_TAIL_LIGHT = 0.7, 1.3, 0.4, 0.75  # logits per unit
SOFT_MUON_GAIN, SOFT_MUON_GEV = 0.25, 8.0
PT_TURN_GEV, PT_GAIN = 30.0, 0.3
PILEUP_BLUR = 0.25
HEAD_NOISE = 0.20  # the three ratios come from separately calibrated heads
QG_LIMITS = (0.12, 0.95)
QG_JET_SHAPE, QG_FORWARD, QG_NEUTRAL, QG_PT = 0.26, 1.0, 0.0, 0.10
QG_PHOTON = 0.25
CONTENT_CONSTITUENTS, CONTENT_PHOTONS, CONTENT_FORWARD = 0.045, 0.75, 1.2
CONTENT_HADRONS = 0.65  # logits of b, c
# DeepCSV-like: the same evidence seen with less information.
DEEPCSV_SHARE, DEEPCSV_NOISE = 0.75, 0.9
DEEPCSV_SHIFT = -0.1
CSV_SHARE, CSV_NOISE, CSV_SHIFT = 0.45, 1.0, 0.1
CSV_MAX = 0.985
FAILED_SCORE, FAILED_CSV = -1.0, -10.0
FAIL_TRACKS, FAIL_SLOPE = 1.1, 0.35  # tracks with a usable impact parameter
QGL_FAIL_ETA, QGL_FAIL_WIDTH = 2.45, 0.08
QGL_FAIL_CONSTITUENTS = 4.0
QGL_SENTINEL = -1.0


def with_tags(jets: Flat, deposits: Deposits, state: EventState, rng: np.random.Generator) -> Flat:
    """Add the nine b/c/quark-gluon scores, ``chFPV0EF``, ``puIdDisc``."""
    n = len(jets)
    logits = _logits(jets, deposits, state, rng)
    jets = jets.with_columns(_deep_jet(logits, jets, n, rng))
    tracks = 0.8 * jets["gen_nCharged"] * (deposits.charged > 0)
    tracks = tracks * expit((2.45 - np.abs(jets["eta"])) / 0.07) * lognormal(rng, 0.2, n)
    failed = bernoulli(rng, expit((FAIL_TRACKS - tracks) / FAIL_SLOPE))
    jets = jets.with_columns(_deep_csv(logits, failed, jets["pt"], rng))
    return jets.with_columns(_quark_gluon(jets, rng) | _vertex_scores(jets, deposits, state, rng))


def _flavour_row(jets: Flat) -> np.ndarray:
    hadron, parton = jets["gen_hadronFlavour"], np.abs(jets["gen_partonFlavour"])
    light = np.where(parton == 21, 3, 2)
    gluon_like = np.where(parton == 0, 3, light)
    return np.where(hadron == 5, 0, np.where(hadron == 4, 1, gluon_like))


def _logits(
    jets: Flat, deposits: Deposits, state: EventState, rng: np.random.Generator
) -> np.ndarray:
    """(n, 4) evidence of the classes; the hidden decay length, tracks, muons enter here."""
    n, row = len(jets), _flavour_row(jets)
    heavy = row < 2
    logits = np.asarray([MEANS[name] for name in CLASSES])[row]
    inside = expit((2.45 - np.abs(jets["eta"])) / 0.12)
    missed = bernoulli(rng, np.asarray([*VERTEX_MISSED, 0.0, 0.0])[row]) | ~bernoulli(rng, inside)
    length = np.log(np.maximum(jets["gen_lxy"], 1e-3) / DECAY_LENGTH_CM)
    length = DECAY_SLOPE * np.clip(length, -3.0, 2.5) * lognormal(rng, 0.15, n)
    tracks = np.log1p(jets["gen_nDisplaced"]) - TRACKS_MEAN
    found = heavy & ~missed
    evidence = np.where(found, length + TRACKS_SLOPE * tracks, 0.0)
    evidence = np.where(heavy, evidence, LIGHT_TRACKS_SLOPE * np.log1p(jets["gen_nDisplaced"]))
    evidence = evidence - missed * np.asarray([*VERTEX_MISSED_SHIFT, 0.0, 0.0])[row]
    in_jet = deposits.muons * (deposits.muons / (deposits.total + 1e-9) < 0.8)
    muon = SOFT_MUON_GAIN * np.tanh(in_jet / SOFT_MUON_GEV)
    turn = PT_GAIN * np.tanh(np.log(jets["gen_pt"] / PT_TURN_GEV))
    spread = np.asarray([LOGIT_SPREAD[name] for name in CLASSES])[row]
    spread = spread.T * (1 + PILEUP_BLUR * (state.rho[jets.event] / 20.0 - 1))
    noise = rng.standard_normal((n, 4)) * np.maximum(spread, 0.1).T
    tail = stretch(rng.standard_normal(n), *MISTAG_TAIL)
    tail = np.where(tail > 0, tail, 0.45 * tail) * 0.9
    gain = np.where(heavy, turn, 0.35 * turn)
    slopes = np.asarray([B_EVIDENCE, C_EVIDENCE, (1.0, 0.8, 0.0, 0.0), (1.0, 0.8, 0.0, 0.0)])[row]
    logits += slopes * evidence[:, None]
    content = CONTENT_CONSTITUENTS * np.clip(jets["nConstituents"] - 13, -10, 12)
    content = content + CONTENT_PHOTONS * (deposits.photons / deposits.total - 0.2)
    content = content + CONTENT_HADRONS * deposits.neutral / deposits.total
    content = content - CONTENT_FORWARD * (1 - inside)
    logits[:, :2] += content[:, None] * np.asarray([0.8, 1.0])
    logits[:, 0] += muon + gain + np.where(heavy, B_TAIL_HEAVY, B_TAIL_LIGHT) * tail
    logits[:, 1] += 0.5 * muon + gain + np.where(heavy, C_TAIL_HEAVY, C_TAIL_LIGHT) * tail
    shape = 5.0 * (jets["gen_ptD"] - 0.38) - 6.0 * (jets["gen_girth"] - 0.10)
    shape = shape - 0.024 * (jets["nConstituents"] - 13)
    shape = QG_JET_SHAPE * np.clip(shape, -3, 3) + 0.5 * QG_FORWARD * (1 - inside)
    share = QG_NEUTRAL * deposits.neutral + QG_PHOTON * deposits.photons
    shape = shape + share / deposits.total + QG_PT * np.log(jets["pt"] / 50.0)
    logits[:, 2] += shape
    logits[:, 3] -= shape
    return logits + noise


def _deep_jet(
    logits: np.ndarray, jets: Flat, n: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    b, c, uds, g = logits.T
    low, high = QG_LIMITS

    def head() -> np.ndarray:
        return HEAD_NOISE * rng.standard_normal(n)

    light = np.logaddexp(uds, g)
    gluon = g - uds + head()
    return {
        "btagDeepFlavB": expit(b - np.logaddexp(c, light) + head()),
        "btagDeepFlavCvB": expit(c - b + head()),
        "btagDeepFlavCvL": expit(c - light + head()),
        "btagDeepFlavQG": low + (high - low) * expit(gluon),
    }


def _deep_csv(
    logits: np.ndarray, failed: np.ndarray, pt: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    n = len(logits)
    seen = DEEPCSV_SHARE * logits + DEEPCSV_NOISE * rng.standard_normal(logits.shape)
    b, c, uds, g = seen.T
    light = np.logaddexp(uds, g)
    csv = CSV_SHARE * (logits[:, 0] - np.logaddexp(logits[:, 2], logits[:, 3]))
    csv = csv + CSV_NOISE * rng.standard_normal(n) + CSV_SHIFT
    scores = {
        "btagDeepB": expit(b - np.logaddexp(c, light) + DEEPCSV_SHIFT),
        "btagDeepCvB": 0.93 * expit(c - b + 0.25 * rng.standard_normal(n)),
        "btagDeepCvL": expit(c - light + 0.25 * rng.standard_normal(n)),
    }
    scores = {name: np.where(failed, FAILED_SCORE, values) for name, values in scores.items()}
    return scores | {"btagCSVV2": np.where(failed, FAILED_CSV, CSV_MAX * expit(csv))}


def _quark_gluon(jets: Flat, rng: np.random.Generator) -> dict[str, np.ndarray]:
    n, number = len(jets), jets["nConstituents"]
    score = 9.0 * (jets["gen_ptD"] - 0.37) - 14.0 * (jets["gen_girth"] - 0.09)
    score = score - 0.16 * (number - 14) + 1.3 * np.log(jets["pt"] / 50.0)
    score = 4.5 * np.tanh(score / 4.0) + 1.1 * rng.standard_normal(n) + 0.1
    few = expit((QGL_FAIL_CONSTITUENTS - number) / 0.8)
    far = expit((np.abs(jets["eta"]) - QGL_FAIL_ETA) / QGL_FAIL_WIDTH)
    failed = bernoulli(rng, 1 - (1 - few) * (1 - far))
    return {"qgl": np.where(failed, QGL_SENTINEL, expit(score))}


def _vertex_scores(
    jets: Flat, deposits: Deposits, state: EventState, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Charged energy from other vertices, then the pile-up jet score that uses it."""
    n, event, pt = len(jets), jets.event, jets["pt"]
    inside = expit((2.5 - np.abs(jets["eta"])) / 0.15)
    mean = 0.42 * state.rho[event] * jets["area"] / pt * inside
    mean = mean * (0.7 + 3.0 * state.charged_leak[event]) * rng.gamma(2.5, 1 / 2.5, n)
    none = bernoulli(rng, np.exp(-mean * pt / 0.9))
    none |= ~bernoulli(rng, 0.02 + 0.98 * inside)
    other = np.where(none, 0.0, mean / (1 + mean) * 1.15 + 0.0)
    pileup_like = np.where(jets["gen_row"] < 0, 1.0, 0.0)
    hard = np.log(pt / 20.0)
    score = 2.3 + 2.0 * hard - 3.0 * other - 3.6 * pileup_like * inside - 1.5 * pileup_like
    score = score - 1.7 * (1 - inside) - 4.0 * deposits.pileup / (deposits.total + 1e-9)
    score = score - 5.0 * (jets["gen_girth"] - 0.1) + 0.02 * (jets["nConstituents"] - 13)
    score = score + 0.95 * tailed(rng, n, (1.2, 0.6), (1.8, 0.2))
    return {"chFPV0EF": other, "puIdDisc": np.tanh(0.5 * score)}

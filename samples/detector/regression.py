"""Energy regressions, forward shower shapes, cleaning flag of jets."""

from __future__ import annotations

import numpy as np

from samples.detector.composition import Deposits
from samples.detector.event import EventState
from samples.detector.shapes import bernoulli, expit, logit, tailed
from samples.detector.tables import Flat

__all__ = ["with_forward_shapes", "with_regression"]

# Chosen, to give the quantiles of the UL17 and 2015 files.
RESPONSE_SEEN = 0.40  # power of 1/response that the regression recovers
NEUTRINO_SEEN = 0.55
B_MEAN, C_MEAN = 1.075, 1.03
B_SOFT, C_SOFT = 0.12, 0.06  # growth below 40 GeV, in -ln(pt / 40 GeV)
B_SPREAD, C_SPREAD = 0.055, 0.045
TAIL_LOW, TAIL_HIGH = (1.4, 0.35), (1.4, 0.40)
RESOLUTION_AT_50, RESOLUTION_POWER = 0.135, -0.42
RESOLUTION_SPREAD = 0.16
FORWARD_ETA, FORWARD_WIDTH = 3.02, 0.05
FORWARD_SEEN = 0.75
SIGMA_ETA, SIGMA_PHI, SIGMA_SPREAD = 0.045, 0.045, 0.40
SIGMA_COMMON = 0.7  # share of the spread that eta and phi have in common
NO_SHAPE = -1.0
STRIPS = (1.2, 0.25)  # Poisson means of central, adjacent strips
MUON_SHARE_BLUR = 0.15  # in the logit of the fraction
ADJACENT_MAX, CENTRAL_MAX = 5, 4


def with_regression(
    jets: Flat, deposits: Deposits, state: EventState, rng: np.random.Generator
) -> Flat:
    """Add bRegCorr, bRegRes, cRegCorr, cRegRes, muonSubtrFactor, cleanmask."""
    n, pt = len(jets), jets["pt"]
    response = np.log(np.clip(jets["response"], 0.2, 5.0))
    total = deposits.total + 1e-9
    neutrino = jets["gen_neutrinoPt"] / np.maximum(jets["gen_pt"], 1.0)
    muon = deposits.muons / total
    soft = -np.log(pt / 40.0)
    common = rng.standard_normal(n)
    corrections = {}
    for name, mean, slope, spread in (
        ("b", B_MEAN, B_SOFT, B_SPREAD), ("c", C_MEAN, C_SOFT, C_SPREAD),
    ):  # fmt: skip
        z = 0.6 * common + 0.8 * rng.standard_normal(n)
        log = np.log(mean) + slope * np.tanh(soft) - RESPONSE_SEEN * 0.5 * response
        log = log + NEUTRINO_SEEN * np.log1p(neutrino) + 0.10 * np.tanh(3 * muon)
        log = log + 0.03 * (jets["btagDeepFlavB"] - 0.5) * (1 if name == "b" else -0.5)
        log = log + spread * tailed(None, n, TAIL_LOW, TAIL_HIGH, z)
        corrections[f"{name}RegCorr"] = np.exp(log)
    width = RESOLUTION_AT_50 * (pt / 50.0) ** RESOLUTION_POWER
    width = width * np.exp(0.5 * np.abs(response)) * (1 + 0.4 * neutrino) * (1 + 0.15 * muon)
    width = width * (1 + 0.15 * (state.rho[jets.event] / 20.0 - 1))
    shared = rng.standard_normal(n)
    for name, scale in (("b", 1.0), ("c", 0.88)):
        z = 0.75 * shared + 0.66 * rng.standard_normal(n)
        corrections[f"{name}RegRes"] = scale * width * np.exp(RESOLUTION_SPREAD * z)
    inside = np.clip(muon, 1e-6, 1 - 1e-6)
    muon_share = expit(logit(inside) + MUON_SHARE_BLUR * rng.standard_normal(n)) * (muon > 0)
    leptons = np.maximum(muon, deposits.electrons / total)
    clean = bernoulli(rng, 0.92 * expit((0.62 - leptons) / 0.06))
    corrections |= {"muonSubtrFactor": muon_share, "cleanmask": clean}
    return jets.with_columns(corrections)


def with_forward_shapes(jets: Flat, rng: np.random.Generator) -> Flat:
    """Add the four shower shapes of the forward calorimeter."""
    n, eta = len(jets), np.abs(jets["eta"])
    seen = bernoulli(rng, FORWARD_SEEN * expit((eta - FORWARD_ETA) / FORWARD_WIDTH))
    common = rng.standard_normal(n)
    harder = -0.15 * np.log(jets["pt"] / 30.0)

    def sigma(scale: float) -> np.ndarray:
        z = SIGMA_COMMON * common + np.sqrt(1 - SIGMA_COMMON**2) * rng.standard_normal(n)
        return np.where(seen, scale * np.exp(harder + SIGMA_SPREAD * z), NO_SHAPE)

    size = np.exp(0.4 * common)
    central = np.clip(rng.poisson(STRIPS[0] * size), 0, CENTRAL_MAX) * seen
    adjacent = np.clip(rng.poisson(STRIPS[1] * size), 0, ADJACENT_MAX) * seen
    return jets.with_columns(
        {
            "hfsigmaEtaEta": sigma(SIGMA_ETA), "hfsigmaPhiPhi": sigma(SIGMA_PHI),
            "hfcentralEtaStripSize": central, "hfadjacentEtaStripsSize": adjacent,
        }
    )  # fmt: skip

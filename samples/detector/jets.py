"""Reconstruction of jets from generator jets: efficiency, response, direction, mass."""

from __future__ import annotations

import numpy as np

from samples.detector.composition import Deposits, muons_in_jets, reconstruct_deposits
from samples.detector.event import EventState
from samples.detector.shapes import bernoulli, expit, lognormal, tailed
from samples.detector.tables import Flat, delta_phi, pair_up

__all__ = [
    "CALORIMETER_ETA",
    "JET_PT_THRESHOLD_GEV",
    "jets_from_generator",
    "raw_factor",
    "with_fractions",
]

CALORIMETER_ETA = 5.191  # end of the CMS forward calorimeter
JET_PT_THRESHOLD_GEV = 15.0  # NanoAOD

# Resolution noise/pt (+) stochastic/sqrt(pt) (+) constant: form of arXiv:1607.03663, values
# chosen to give the widths of the v12 ttbar file on top of what the composition brings.
NOISE_GEV, STOCHASTIC, CONSTANT = 2.0, 0.62, 0.035
ENDCAP_WIDTH = 0.35  # relative growth around |eta| = 2.9
RESPONSE_LOW, RESPONSE_HIGH = (0.8, 0.85), (1.7, 0.28)
MEAN_RESPONSE = 0.865  # of the summed deposits, calibrated away
MEAN_OFFSET_GEV = 0.6
MEAN_RHO_GEV = 20.0
OFFSET_PER_RHO = 0.03
ENDCAP_RESPONSE = 0.06  # overcorrection beyond |eta| 1.5
GLUON_RESPONSE, CHARM_RESPONSE, BEAUTY_RESPONSE = -0.012, -0.03, -0.06
# Efficiency: PUPPI and pile-up losses at low pt, on top of the 15 GeV threshold.
EFFICIENCY_PT_GEV, EFFICIENCY_PER_PU, EFFICIENCY_SLOPE = 7.8, 0.07, 0.42  # slope in ln pt
EFFICIENCY_FORWARD = 0.8  # relative growth of the turn-on beyond the tracker
EFFICIENCY_PLATEAU = 0.997
MERGE_DR, MERGE_WIDTH, MERGE_LOSS = 0.50, 0.05, 0.50
ANGLE_CONSTANT, ANGLE_GEV = 0.007, 0.72
ANGLE_TAIL = (0.7, 0.95)
MATCH_DR = 0.4  # NanoAOD's limit; jets that point farther away are lost
AREA, AREA_WIDTH, AREA_LOW, AREA_HIGH = 0.4985, 0.055, (0.7, 1.2), (1.3, 1.0)
MASS_RESPONSE, MASS_WIDTH = 0.84, 0.22
MASS_RESPONSE_POWER = 0.7
MASS_MULTIPLICITY = 0.18  # power of nConstituents/13
MASS_PILEUP = 0.030  # of pt, from soft particles at the edge
RAW_FLOOR, RAW_LN_CENTRAL, RAW_LN_RISE, RAW_SPREAD = 0.048, -4.2, 2.9, 0.28
CONSTITUENT_SPREAD, CONSTITUENT_NOISE = 0.07, 0.7
ENDCAP_CONSTITUENTS = 0.2  # share not resolved
NEUTRAL_SEEN = 0.68
PILEUP_PARTICLES_PER_GEV = 0.6
FORWARD_TOWERS = 4.0  # one constituent per tower beyond |eta| 3
PHOTON_RESPONSE, NEUTRAL_RESPONSE = -0.25, 0.30  # change of response with the fractions


def jets_from_generator(
    gen: Flat, muons: Flat, state: EventState, rng: np.random.Generator
) -> tuple[Flat, Deposits]:
    """Jets found from generator jets above threshold, with the deposits they were made of.

    Adds to the generator columns (renamed ``gen_pt``...): pt, eta, phi, mass, rawFactor, area,
    nConstituents, response; hidden: dr_harder (distance to a harder generator jet).
    """
    muon_pt, _, n_muons = muons_in_jets(gen, muons)
    deposits = reconstruct_deposits(gen, muon_pt, state, rng)
    closest = _harder_neighbour(gen)
    found = bernoulli(rng, _efficiency(gen, closest, state))
    n, pt, eta = len(gen), gen["pt"], np.abs(gen["eta"])
    shape = tailed(rng, n, RESPONSE_LOW, RESPONSE_HIGH)
    factor = np.exp(_width(pt, eta) * shape)
    expected = MEAN_RESPONSE * pt + MEAN_OFFSET_GEV
    expected = expected + OFFSET_PER_RHO * (state.rho[gen.event] - MEAN_RHO_GEV)
    parton, hadron = np.abs(gen["partonFlavour"]), gen["hadronFlavour"]
    endcap = ENDCAP_RESPONSE * expit((eta - 1.5) / 0.2)
    flavour = endcap + GLUON_RESPONSE * (parton == 21) + CHARM_RESPONSE * (hadron == 4)
    flavour = flavour + BEAUTY_RESPONSE * (hadron == 5)
    total = deposits.total
    kind = PHOTON_RESPONSE * (deposits.photons / total - 0.2)
    kind = kind + NEUTRAL_RESPONSE * (deposits.neutral / total - 0.15)
    response = total / expected * factor * (1 + flavour) * np.exp(kind)
    angle = np.hypot(ANGLE_CONSTANT, ANGLE_GEV / pt)
    columns = {f"gen_{name}": values for name, values in gen.columns.items()}
    columns |= {
        "gen_row": np.arange(n), "pt": pt * response, "dr_harder": closest,
        "eta": gen["eta"] + angle * tailed(rng, n, ANGLE_TAIL, ANGLE_TAIL),
        "phi": delta_phi(gen["phi"] + angle * tailed(rng, n, ANGLE_TAIL, ANGLE_TAIL), 0.0),
        "response": response, "nMuons": n_muons, "nElectrons": deposits.n_electrons,
    }  # fmt: skip
    jets = gen.only(columns)
    jets = _with_shape(jets, deposits, state, rng)
    dr = np.hypot(jets["eta"] - gen["eta"], delta_phi(jets["phi"], gen["phi"]))
    found &= (jets["pt"] > JET_PT_THRESHOLD_GEV) & (dr < MATCH_DR)
    kept = np.flatnonzero(found & (np.abs(jets["eta"]) < CALORIMETER_ETA))
    return jets.take(kept), Deposits(*(values[kept] for values in deposits))


def _harder_neighbour(gen: Flat) -> np.ndarray:
    pairs = pair_up(gen, gen)
    harder = gen["pt"][pairs.right] > gen["pt"][pairs.left]
    closest = np.full(len(gen), 9.0)
    np.minimum.at(closest, pairs.left[harder], pairs.dr[harder])
    return closest


def _efficiency(gen: Flat, closest: np.ndarray, state: EventState) -> np.ndarray:
    half = EFFICIENCY_PT_GEV + EFFICIENCY_PER_PU * state.npu[gen.event]
    forward = expit((np.abs(gen["eta"]) - 2.5) / 0.15)
    half = half * (1 + EFFICIENCY_FORWARD * forward)
    turn_on = expit(np.log(gen["pt"] / half) / EFFICIENCY_SLOPE)
    merged = 1.0 - MERGE_LOSS * expit((MERGE_DR - closest) / MERGE_WIDTH)
    edge = expit((CALORIMETER_ETA - 0.1 - np.abs(gen["eta"])) / 0.04)
    return EFFICIENCY_PLATEAU * turn_on * merged * edge


def _width(pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    bump = 1.0 + ENDCAP_WIDTH * np.exp(-0.5 * ((eta - 2.9) / 0.3) ** 2)
    return bump * np.sqrt((NOISE_GEV / pt) ** 2 + STOCHASTIC**2 / pt + CONSTANT**2)


def raw_factor(
    pt: np.ndarray, eta: np.ndarray, rho: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """1 - raw/corrected: grows with |eta|, with 1/pt, a little with rho."""
    eta, n = np.abs(eta), len(pt)
    rise = RAW_LN_RISE * expit((eta - 1.45) / 0.45) - 0.9 * expit((eta - 3.6) / 0.25)
    mean = RAW_LN_CENTRAL + rise - 0.30 * np.log(pt / 50.0) + 0.004 * (rho - MEAN_RHO_GEV)
    return RAW_FLOOR + np.exp(mean + RAW_SPREAD * rng.standard_normal(n))


def _with_shape(
    jets: Flat, deposits: Deposits, state: EventState, rng: np.random.Generator
) -> Flat:
    n, rho = len(jets), state.rho[jets.event]
    pt, edge = jets["pt"], deposits.pileup / (deposits.total + 1e-9)
    soft = MASS_PILEUP * pt * lognormal(rng, 0.3, n) * (1 + 3 * edge)
    scale = np.maximum(jets["response"], 0.05) ** MASS_RESPONSE_POWER
    area = AREA * np.exp(
        AREA_WIDTH * tailed(rng, n, AREA_LOW, AREA_HIGH) + 0.012 * np.log(pt / 40.0)
    )
    inside = expit((2.5 - np.abs(jets["eta"])) / 0.1)
    tracks = 0.93 * jets["gen_nCharged"] * (0.25 + 0.75 * inside)
    number = tracks + NEUTRAL_SEEN * jets["gen_nNeutral"]
    number = number + PILEUP_PARTICLES_PER_GEV * deposits.pileup
    number = number + FORWARD_TOWERS * expit((np.abs(jets["eta"]) - 3.0) / 0.1)
    endcap = expit((np.abs(jets["eta"]) - 1.6) / 0.3)
    number = number * (1 - ENDCAP_CONSTITUENTS * endcap)
    number = number * lognormal(rng, CONSTITUENT_SPREAD, n)
    number = np.rint(number + CONSTITUENT_NOISE * rng.standard_normal(n))
    number = np.clip(number, 1, 254)
    body = jets["gen_mass"] * scale * MASS_RESPONSE * lognormal(rng, MASS_WIDTH, n)
    body = body * (number / 13.0) ** MASS_MULTIPLICITY
    return jets.with_columns(
        {
            "mass": np.hypot(body, soft), "area": area,
            "nConstituents": number.astype(np.int64),
            "rawFactor": raw_factor(pt, jets["eta"], rho, rng),
        }
    )  # fmt: skip


def with_fractions(jets: Flat, deposits: Deposits) -> Flat:
    """Add the four stored energy fractions; the neutral hadrons are what is left."""
    total = deposits.total
    return jets.with_columns(
        {
            "chHEF": deposits.charged / total, "neEmEF": deposits.photons / total,
            "chEmEF": deposits.electrons / total, "muEF": deposits.muons / total,
        }
    )  # fmt: skip

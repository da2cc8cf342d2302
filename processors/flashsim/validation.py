"""Histograms that compare full with flash simulation, filled block by block."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import hist
import numpy as np

from processors.histogramming import SOURCES, Binning, category_axis, fill, make
from processors.objects.binning import BINNINGS, CORRELATIONS

__all__ = [
    "CLASSES",
    "EVENT_COLLECTIONS",
    "OUTCOMES",
    "ObjectColumns",
    "Validation",
    "jet_class",
    "muon_class",
]

EVENT_COLLECTIONS = ("Muon", "Jet")
"""What event quantities are made of."""
OUTCOMES = ("gen", "full", "flash")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "Muon": ("prompt", "tau", "b", "c", "light", "unmatched"),
    "Jet": ("b", "c", "gluon", "light", "undefined", "unmatched"),
}
"""Origin of the object: from the generator, ``unmatched`` without partner."""

RESPONSE = Binning(80, 0.0, 2.0, "response")
GEN_PT: Mapping[str, Binning] = {
    "Muon": Binning(12, 3.0, 300.0, r"generated $p_T$ [GeV]", geometric=True),
    "Jet": Binning(16, 10.0, 600.0, r"generated $p_T$ [GeV]", geometric=True),
}
GEN_ETA: Mapping[str, Binning] = {
    "Muon": Binning(12, -3.0, 3.0, r"generated $\eta$"),
    "Jet": Binning(12, -6.0, 6.0, r"generated $\eta$"),
}
EVENT: Mapping[str, Binning] = {
    "nJet": Binning(25, -0.5, 24.5, "jets"),
    "nMuon": Binning(8, -0.5, 7.5, "muons"),
    "ht": Binning(50, 0.0, 1500.0, r"$H_T$ [GeV]"),
    "mjj": Binning(50, 0.0, 1500.0, r"$m_{jj}$ [GeV]"),
    "mmumu": Binning(60, 0.0, 180.0, r"$m_{\mu\mu}$ [GeV]"),
}
GLUON = 21


class ObjectColumns(NamedTuple):
    """Objects of one source in a block, flat.

    Attributes:
        columns: Stored columns, ``(n,)`` each.
        classes: Position in ``CLASSES``, ``(n,)``.
        weights: Event weight of each object, ``(n,)``.
        gen_pt: Generated pt of the partner, NaN without one, ``(n,)``.
    """

    columns: Mapping[str, np.ndarray]
    classes: np.ndarray
    weights: np.ndarray
    gen_pt: np.ndarray


class Validation:
    """All histograms of a run, with the methods that fill them.

    Arguments:
        collections: What is compared, ``Muon``, ``Jet``, both or nothing; event quantities need
            both.
    """

    def __init__(self, collections: Collection[str]) -> None:
        self.hists: dict[str, hist.Hist] = {}
        source = category_axis(SOURCES, "source")
        for collection in collections:
            classes = category_axis(CLASSES[collection], "origin")
            bins = BINNINGS[collection]
            for name, one in bins.items():
                self.hists[f"{collection}_{name}"] = make([source, classes], [(name, one)])
            for x, y in CORRELATIONS[collection]:
                dense = [(x, _coarse(bins[x])), (y, _coarse(bins[y]))]
                self.hists[f"{collection}_{x}_{y}"] = make([source], dense)
            dense = [("gen_pt", GEN_PT[collection]), ("response", RESPONSE)]
            self.hists[f"{collection}_response"] = make([source, classes], dense)
            outcome = category_axis(OUTCOMES, "outcome")
            dense = [("gen_pt", GEN_PT[collection]), ("gen_eta", GEN_ETA[collection])]
            self.hists[f"{collection}_efficiency"] = make([outcome], dense)
        if set(collections) >= set(EVENT_COLLECTIONS):
            for name, one in EVENT.items():
                self.hists[f"event_{name}"] = make([source], [(name, one)])

    def fill_objects(self, source: str, collection: str, objects: ObjectColumns) -> None:
        """Fill every column that is present, the joint distributions, the response."""
        code = SOURCES.index(source)
        weights = _scalar_if_constant(objects.weights)
        bins = BINNINGS[collection]
        for name, values in objects.columns.items():
            if name in bins:
                target = self.hists[f"{collection}_{name}"]
                fill(target, [code, objects.classes], [bins[name].index(values)], weights)
        for x, y in CORRELATIONS[collection]:
            if x in objects.columns and y in objects.columns:
                indices = [_coarse(bins[v]).index(objects.columns[v]) for v in (x, y)]
                fill(self.hists[f"{collection}_{x}_{y}"], [code], indices, weights)
        self._fill_response(code, collection, objects)

    def _fill_response(self, code: int, collection: str, objects: ObjectColumns) -> None:
        known = objects.gen_pt > 0
        gen = objects.gen_pt[known]
        ratio = objects.columns["pt"][known] / gen
        indices = [GEN_PT[collection].index(gen), RESPONSE.index(ratio)]
        weights = _scalar_if_constant(objects.weights[known])
        fill(self.hists[f"{collection}_response"], [code, objects.classes[known]], indices, weights)

    def fill_efficiency(
        self, outcome: str, collection: str, pt: np.ndarray, eta: np.ndarray, weights: np.ndarray
    ) -> None:
        """Fill generated objects: all of them as ``gen``, those with a partner per source."""
        indices = [GEN_PT[collection].index(pt), GEN_ETA[collection].index(eta)]
        code = OUTCOMES.index(outcome)
        target = self.hists[f"{collection}_efficiency"]
        fill(target, [code], indices, _scalar_if_constant(weights))

    def fill_events(
        self, source: str, quantities: Mapping[str, np.ndarray], weights: np.ndarray
    ) -> None:
        """Fill event quantities; NaN (not defined for the event) is left out."""
        for name, values in quantities.items():
            defined = np.isfinite(values)
            index = EVENT[name].index(values[defined])
            chosen = _scalar_if_constant(weights[defined])
            fill(self.hists[f"event_{name}"], [SOURCES.index(source)], [index], chosen)


def jet_class(hadron: np.ndarray, parton: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """Position of each jet in ``CLASSES["Jet"]``: hadron flavour first, then the parton."""
    b, c, gluon, light, undefined, unmatched = range(len(CLASSES["Jet"]))
    parton = np.abs(parton.astype(np.int32))
    return np.select(
        [~matched, hadron == 5, hadron == 4, parton == GLUON, parton > 0],
        [unmatched, b, c, gluon, light],
        undefined,
    ).astype(np.int32)


def muon_class(gen_part_flav: np.ndarray) -> np.ndarray:
    """Position of each muon in ``CLASSES["Muon"]`` from ``Muon_genPartFlav``."""
    prompt, tau, b, c, light, unmatched = range(len(CLASSES["Muon"]))
    flavour = gen_part_flav.astype(np.int32)
    codes = {1: prompt, 15: tau, 5: b, 4: c, 3: light}
    chosen = np.select([flavour == key for key in codes], list(codes.values()), unmatched)
    return chosen.astype(np.int32)


def _coarse(one: Binning) -> Binning:
    """At most 40 bins, for joint distributions."""
    return Binning(min(one.bins, 40), one.low, one.high, one.label, one.geometric)


def _scalar_if_constant(weights: np.ndarray) -> np.ndarray | float:
    """One number when all weights agree, which makes filling several times faster."""
    if len(weights) and (weights == weights[0]).all():
        return float(weights[0])
    return weights

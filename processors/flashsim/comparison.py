"""Filling of the validation histograms from one block of full with flash simulation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from processors.counters import Counters
from processors.flashsim.conditions import Source
from processors.flashsim.fullsim import Recorded
from processors.flashsim.object_simulation import Simulated
from processors.flashsim.topology import event_quantities
from processors.flashsim.validation import (
    EVENT_COLLECTIONS,
    ObjectColumns,
    Validation,
    jet_class,
    muon_class,
)
from processors.jagged import Flat, event_index

__all__ = ["Comparison"]


class Comparison:
    """Fills one block.

    Arguments:
        validation: Histograms, added to.
        counters: Counters of the chunk, added to.
        folds: Simulations per generated event: flash entries weigh one over it.
    """

    def __init__(self, validation: Validation, counters: Counters, folds: int) -> None:
        self.validation = validation
        self.counters = counters
        self.folds = folds

    def add(
        self,
        collection: str,
        source: Source,
        simulated: Simulated,
        made: Flat,
        recorded: Recorded | None,
        weights: np.ndarray,
    ) -> None:
        """Fill one collection: flash always, full where the input has it.

        Arguments:
            collection: ``Muon`` or ``Jet``.
            source: Generator objects.
            simulated: Result of the simulation.
            made: Its stored columns.
            recorded: Full simulation.
            weights: Generator weights, ``(n_events,)``.
        """
        event = event_index(made.counts) // self.folds
        flash = ObjectColumns(
            columns=made.columns,
            classes=_flash_classes(collection, made),
            weights=weights[event] / self.folds,
            gen_pt=simulated.gen["pt"],
        )
        self.validation.fill_objects("flash", collection, flash)
        self._efficiency("gen", collection, source, slice(None), weights)
        self._efficiency("flash", collection, source, simulated.reconstructed, weights)
        if recorded is None:
            return
        full = ObjectColumns(
            columns=recorded.objects.columns,
            classes=recorded.classes,
            weights=weights[recorded.objects.event],
            gen_pt=recorded.gen_pt,
        )
        self.validation.fill_objects("full", collection, full)
        self._efficiency("full", collection, source, recorded.reconstructed, weights)
        prefix = f"objects.{collection}.full"
        self.counters[prefix] += len(recorded.objects)
        self.counters[f"{prefix}_reconstructed"] += int(recorded.reconstructed.sum())
        self.counters[f"{prefix}_duplicates"] += recorded.partners.duplicates
        self.counters[f"{prefix}_dangling_index"] += recorded.partners.dangling
        self.counters[f"{prefix}_unmatched"] += recorded.partners.unmatched

    def _efficiency(
        self,
        outcome: str,
        collection: str,
        source: Source,
        chosen: np.ndarray | slice,
        weights: np.ndarray,
    ) -> None:
        self.validation.fill_efficiency(
            outcome,
            collection,
            source.gen["pt"][chosen],
            source.gen["eta"][chosen],
            weights[source.event[chosen]],
        )

    def events(
        self,
        made: Mapping[str, Flat],
        recorded: Mapping[str, Recorded | None],
        weights: np.ndarray,
    ) -> None:
        """Fill event quantities where both collections are there."""
        if not all(name in made for name in EVENT_COLLECTIONS):
            return
        folded = np.repeat(weights, self.folds) / self.folds
        flash = event_quantities(made["Muon"], made["Jet"])
        self.validation.fill_events("flash", flash, folded)
        muons, jets = recorded["Muon"], recorded["Jet"]
        if muons is not None and jets is not None:
            full = event_quantities(muons.objects, jets.objects)
            self.validation.fill_events("full", full, weights)


def _flash_classes(collection: str, made: Flat) -> np.ndarray:
    if collection == "Muon":
        return muon_class(made["genPartFlav"])
    matched = np.ones(len(made), dtype=bool)
    return jet_class(made["hadronFlavour"], made["partonFlavour"], matched)

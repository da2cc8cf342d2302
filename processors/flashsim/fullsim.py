"""Full simulation found in the input, as the reference of the validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from processors.flashsim.conditions import GenContent, Source
from processors.flashsim.matching import Partners, partners
from processors.flashsim.validation import jet_class, muon_class
from processors.jagged import Flat, flatten
from processors.objects.binning import BINNINGS
from processors.objects.table import ObjectTable

__all__ = ["Recorded", "read_recorded"]

NEEDED: Mapping[str, tuple[str, ...]] = {
    "Muon": ("pt", "eta", "phi", "charge", "genPartIdx", "genPartFlav"),
    "Jet": ("pt", "eta", "phi", "mass", "genJetIdx", "hadronFlavour", "partonFlavour"),
}
"""Fields without which a collection is not compared."""


class Recorded(NamedTuple):
    """One reconstructed collection of a block.

    Attributes:
        objects: Columns that are compared, flat.
        classes: Position of each object in ``validation.CLASSES``, ``(n,)``.
        gen_pt: Generated pt of the partner, NaN without one, ``(n,)``.
        reconstructed: Whether each source row has a partner, ``(n_source,)``.
        partners: How the matching went.
    """

    objects: Flat
    classes: np.ndarray
    gen_pt: np.ndarray
    reconstructed: np.ndarray
    partners: Partners


def _muon_classes(columns: Mapping[str, np.ndarray], matched: np.ndarray) -> np.ndarray:
    return muon_class(np.where(matched, columns["genPartFlav"], 0))


def _jet_classes(columns: Mapping[str, np.ndarray], matched: np.ndarray) -> np.ndarray:
    return jet_class(columns["hadronFlavour"], columns["partonFlavour"], matched)


CLASSIFIERS: Mapping[str, Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]] = {
    "Muon": _muon_classes,
    "Jet": _jet_classes,
}


def read_recorded(
    events: Any, table: ObjectTable, source: Source, gen: GenContent
) -> Recorded | None:
    """Read the collection that ``table`` simulates, ``None`` where the input lacks it.

    Arguments:
        events: Block of NanoEvents.
        table: The object.
        source: Its generator objects.
        gen: Generator content of the block.
    """
    if table.collection not in events.fields:
        return None
    collection = events[table.collection]
    present = set(collection.fields)
    needed = NEEDED[table.collection]
    if not present.issuperset(needed):
        return None
    compared = [name for name in BINNINGS[table.collection] if name in present]
    objects = flatten(collection, dict.fromkeys((*needed, *compared)))
    matching = partners(source.source_counts, objects.counts, objects[table.match])
    origin = gen.particles if table.source == "GenPart" else gen.jets
    gen_pt = np.full(len(objects), np.nan, dtype=np.float32)
    has = np.flatnonzero(matching.index >= 0)
    gen_pt[matching.index[has]] = origin["pt"][has]
    return Recorded(
        objects=objects,
        classes=CLASSIFIERS[table.collection](objects.columns, np.isfinite(gen_pt)),
        gen_pt=gen_pt,
        reconstructed=matching.index[source.position] >= 0,
        partners=matching,
    )

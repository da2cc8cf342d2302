"""Generator content that is carried from the input to the output unchanged."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from processors.jagged import Flat, flat_field, flatten

__all__ = ["Content", "carried", "read_content"]

PREFIXES = ("Gen", "SubGenJet", "LHE", "Pileup", "HTXS", "PSWeight", "genWeight", "genTtbarId")
EVENT_KEYS = ("run", "luminosityBlock", "event", "bunchCrossing", "orbitNumber")
DERIVED_MARKS = ("IdxG", "IdxMotherG")
"""Endings of the cross-references that NanoEvents adds to what the file holds."""

Content = dict[str, "Flat | np.ndarray"]
"""Columns to write: jagged collections or single branches as ``Flat``, event branches as arrays.

A single jagged branch has the one column ``""``.
"""


def carried(events: Any) -> list[str]:
    """Names of the fields of ``events`` that the output keeps, sorted.

    NanoEvents takes their order from a set: it is another one in every process.
    """
    return sorted(n for n in events.fields if n in EVENT_KEYS or n.startswith(PREFIXES))


def read_content(events: Any) -> Content:
    """Read the generator content of a block, every branch once.

    Behaviours of NanoEvents are left aside: they refuse records that lack a coordinate.
    """
    content: Content = {}
    for name in carried(events):
        field = ak.Array(events.layout.content(name))
        if field.fields:
            kept = [f for f in field.fields if not f.endswith(DERIVED_MARKS)]
            if field.ndim > 1:
                content[name] = flatten(field, kept)
            else:
                content |= {f"{name}_{f}": ak.to_numpy(field[f]) for f in kept}
        elif field.ndim > 1:
            counts, values = flat_field(field)
            content[name] = Flat(counts, {"": values})
        else:
            content[name] = ak.to_numpy(field)
    return content

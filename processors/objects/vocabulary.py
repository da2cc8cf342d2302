"""Words that tables and condition functions share: flavours, pile-up."""

from __future__ import annotations

from collections.abc import Mapping

from flows.features import Log1p, Standardise
from processors.objects.table import Condition

__all__ = [
    "HADRON_FLAVOURS",
    "PARTON_FLAVOURS",
    "PILEUP_CONDITIONS",
    "PILEUP_FIELDS",
]

PARTON_FLAVOURS: Mapping[str, tuple[int, ...]] = {
    "light": (1, 2, 3),
    "gluon": (21,),
    "c": (4,),
    "b": (5,),
    "undefined": (0,),
}
HADRON_FLAVOURS: Mapping[str, tuple[int, ...]] = {"b": (5,), "c": (4,), "light": (0,)}
PILEUP_FIELDS = ("gpudensity", "nPU", "nTrueInt", "pudensity", "sumEOOT", "sumLOOT")
PILEUP_CONDITIONS = (
    Condition("Pileup_gpudensity", "1/mm", (Log1p(), Standardise())),
    Condition("Pileup_nPU", "1", (Standardise(),)),
    Condition("Pileup_nTrueInt", "1", (Standardise(),)),
    Condition("Pileup_pudensity", "1/mm", (Log1p(), Standardise())),
    Condition("Pileup_sumEOOT", "1", (Log1p(), Standardise())),
    Condition("Pileup_sumLOOT", "1", (Log1p(), Standardise())),
)

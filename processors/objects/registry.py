"""The objects that can be simulated, by name."""

from __future__ import annotations

from collections.abc import Mapping

from flows.card import Card
from processors.errors import ConfigurationError
from processors.objects.jet import JET
from processors.objects.muon import MUON
from processors.objects.table import ObjectTable

__all__ = ["TABLES", "check_layout"]

TABLES: Mapping[str, ObjectTable] = {table.name: table for table in (MUON, JET)}


def check_layout(card: Card, where: str) -> ObjectTable:
    """The table that a bundle was made for.

    Arguments:
        card: Card of the bundle.
        where: Path of the bundle, for messages.
    Raises: ConfigurationError when the bundle simulates something else or other columns.
    """
    table = TABLES.get(card.layout.object)
    if table is None:
        message = (
            f"bundle {where} simulates {card.layout.object!r}; flash simulation knows "
            f"{', '.join(TABLES)}. Give bundles of these objects"
        )
        raise ConfigurationError(message)
    expected = table.layout()
    for kind in ("condition_names", "category_names", "target_names"):
        found, wanted = getattr(card.layout, kind), getattr(expected, kind)
        if found != wanted:
            odd = sorted(set(found) ^ set(wanted)) or "the same columns in another order"
            message = (
                f"bundle {where} does not fit the {table.name} table: its {kind} differ in {odd}. "
                "Use a bundle trained for this table, or train one"
            )
            raise ConfigurationError(message)
    return table

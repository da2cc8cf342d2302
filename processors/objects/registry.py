"""The objects that can be simulated, by name."""

from __future__ import annotations

from collections.abc import Mapping

from processors.objects.jet import JET
from processors.objects.muon import MUON
from processors.objects.table import ObjectTable

__all__ = ["TABLES"]

TABLES: Mapping[str, ObjectTable] = {table.name: table for table in (MUON, JET)}

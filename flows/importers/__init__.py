"""Models trained elsewhere become bundles: weights, normalisation, units, ranges in one place."""

from flows.importers.nflows import import_nflows
from flows.importers.normflows import import_normflows
from flows.importers.source import ForeignModelError
from flows.importers.zuko import import_zuko

__all__ = ["ForeignModelError", "import_nflows", "import_normflows", "import_zuko"]

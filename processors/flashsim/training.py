"""Training of the models of simulated objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flows.bundle import Bundle
from flows.optimise import Progress
from flows.training import NETWORKS, TrainingSettings, TrainingTable, train_object
from processors.flashsim.evaluation import evaluate, hold_out
from processors.flashsim.extraction import Extraction, load_tables
from processors.objects.jet import JET
from processors.objects.muon import MUON
from processors.objects.table import ObjectTable
from processors.trainables import refuse_told

__all__ = ["JET_TRAINING", "MUON_TRAINING", "ObjectTraining"]

UNTOLD = ("order", "lever_arm", "muons")
"""What can be told of tables of photon times alone."""


class ObjectTraining:
    """See :class:`processors.trainables.Trainable`."""

    networks = NETWORKS
    endings = (".npz",)

    def __init__(self, table: ObjectTable) -> None:
        self.table, self.name = table, table.name

    def extraction(self, options: Mapping[str, Any]) -> Extraction:
        """Tables of this object alone."""
        refuse_told(options, UNTOLD, "events")
        config = dict(options.get("config") or {}) | {"objects": (self.name,)}
        return Extraction.from_options(dict(options) | {"config": config})

    def load(self, paths: Sequence[str], reading: Mapping[str, Any]) -> TrainingTable:
        """Tables name their columns: nothing can be told of them.

        Raises: ConfigurationError where something is.
        """
        refuse_told(reading, UNTOLD, f"tables of {self.name}s")
        return load_tables(paths, self.table)

    def hold_out(
        self, table: TrainingTable, share: float, seed: int
    ) -> tuple[TrainingTable, TrainingTable]:
        """Whole events."""
        return hold_out(table, share, seed)

    def size(self, table: TrainingTable) -> tuple[int, str]:
        """Reconstructed objects."""
        reconstructed = int(table.reconstructed.sum())
        every = f"{len(table.reconstructed):,} generator objects"
        return reconstructed, f"{every}, {reconstructed:,} reconstructed"

    def train(
        self,
        table: TrainingTable,
        run: Mapping[str, Any],
        recipe: Mapping[str, Any],
        progress: Callable[[Progress], None],
        start_from: Bundle | None,
    ) -> Bundle:
        """Fit efficiency, categories, flow."""
        settings = TrainingSettings(**run)
        flow = dataclasses.replace(settings.flow, **recipe)
        settings = dataclasses.replace(settings, flow=flow)
        layout = self.table.layout()
        return train_object(table, layout, settings, progress=progress, start_from=start_from)

    def evaluate(self, bundle: Bundle, table: TrainingTable, seed: int) -> dict[str, Any]:
        """Distances of every column, a classifier's AUC."""
        return evaluate(bundle, table, seed)

    def verdict(self, metrics: Mapping[str, Any]) -> str:
        """The classifier's."""
        held = f"{metrics['held_out_reconstructed']:,} held-out objects"
        return f"classifier AUC {metrics['auc']:.3f} on {held}"


MUON_TRAINING, JET_TRAINING = ObjectTraining(MUON), ObjectTraining(JET)

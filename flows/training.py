"""From a table of matched objects to a bundle: transforms, three networks, figures of merit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flows.bundle import Bundle
from flows.card import Card
from flows.layout import ObjectLayout
from flows.objectmodel import KIND, ObjectModel
from flows.optimise import History, Progress, Recipe, TrainingError, optimise
from flows.pileup import thin
from flows.reference import with_reference
from flows.spec import FlowSpec, HeadSpec, LayerSpec, MlpSpec, ObjectSpec
from flows.tables import Prepared, TrainingTable, check_table, fit_layout, prepare, split
from flows.training_run import (
    RunSettings,
    curves,
    denormals_flushed,
    fingerprint,
    provenance,
    ranges,
    same_columns,
    settings_of,
)

__all__ = [
    "Progress",
    "Recipe",
    "TrainingError",
    "TrainingSettings",
    "TrainingTable",
    "train_object",
]

FLOW = Recipe()
CATEGORIES = Recipe(epochs=16)
EFFICIENCY = Recipe(epochs=40, lr=4e-3)

ProgressCall = Callable[[Progress], None]
NETWORKS = ("efficiency", "categories", "flow")
"""Networks of a model in the order of their training; each has a recipe of its name."""


@dataclass(frozen=True)
class TrainingSettings(RunSettings):
    """Everything that decides the training of an object's model beside its table.

    Arguments:
        flow: Recipe of the flow.
        categories: Recipe of the categorical head.
        efficiency: Recipe of the efficiency.
        hidden: Width of the flow's and the head's hidden layers.
        blocks: Residual blocks of the flow's networks.
        bins: Spline bins.
        bound: Half-width of the splines' box.
        layers: The flow's layers from the data's side.
        embedding: Widths of the network that digests the flow's context.
        efficiency_hidden: Widths of the efficiency's hidden layers.
    """

    flow: Recipe = FLOW
    categories: Recipe = CATEGORIES
    efficiency: Recipe = EFFICIENCY
    hidden: int = 128
    blocks: int = 1
    bins: int = 16
    bound: float = 4.0
    layers: tuple[LayerSpec, ...] = FlowSpec.layers
    embedding: tuple[int, ...] = FlowSpec.embedding
    efficiency_hidden: tuple[int, ...] = (64, 64)
    seed_system: str = "FlashSim"

    def quick(self, epochs: int = 2) -> TrainingSettings:
        """Same settings with few epochs for every network: for tests and first looks."""
        short = {
            name: dataclasses.replace(getattr(self, name), epochs=epochs, batch=256)
            for name in NETWORKS
        }
        return dataclasses.replace(self, **short)


@denormals_flushed()
def train_object(
    table: TrainingTable,
    layout: ObjectLayout,
    settings: TrainingSettings,
    *,
    progress: ProgressCall | None = None,
    start_from: Bundle | None = None,
) -> Bundle:
    """Train the model of one object.

    Arguments:
        table: Conditions of all generator objects, columns of the reconstructed ones.
        layout: Columns; transforms without constants are fitted here.
        settings: How to train.
        progress: Called after every epoch of every network.
        start_from: Bundle of the same columns whose weights and transforms are the start
            (fine-tuning); the transforms stay as they are, the ranges widen.
    Returns: the bundle; ``card.metrics`` holds the loss curves by network.
    Raises: ValueError if table and layout do not belong together; TrainingError if it fails.

    Example:
        >>> from flows.testing import toy_layout, toy_table
        >>> bundle = train_object(toy_table(600), toy_layout(), TrainingSettings().quick(1))
        >>> bundle.card.layout.target_names == toy_layout().target_names
        True
    """
    check_table(table, layout)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    if start_from is None:
        fitted = fit_layout(table, layout, settings.seed)
        model = ObjectModel(fitted, _spec(fitted, settings), _profile(table))
    else:
        fitted = same_columns(layout, start_from)
        model = _continued(start_from, table)
    data = prepare(table, model, settings.seed)
    trainer = _Trainer(model, data, settings, progress, _fingerprint(data, fitted))
    histories, measured = trainer.train(), trainer.metrics()
    learnt = {name: curves(history) for name, history in histories.items()}
    model.to("cpu")
    card = Card(
        kind=KIND,
        name=settings.name or layout.object,
        layout=fitted,
        spec=model.spec.to_dict(),
        ranges=ranges(fitted, table.conditions, start_from),
        era=settings.era,
        seed_system=settings.seed_system,
        source=settings.source,
        provenance=_provenance(settings, data, start_from),
        metrics=learnt | measured,
    )
    bundle = Bundle(card, {n: t.clone() for n, t in model.to_tensors().items()})
    return with_reference(bundle, table.conditions)


class _Trainer:
    """The three networks of a model, trained one after the other."""

    def __init__(
        self,
        model: ObjectModel,
        data: Prepared,
        settings: TrainingSettings,
        progress: ProgressCall | None,
        fingerprint: str,
    ) -> None:
        device, self.settings = settings.device, settings
        self.model = model.to(device)
        self.data = Prepared(*(tensor.to(device) for tensor in data))
        self.progress, self.fingerprint = progress, fingerprint
        everything, matched = split(data, settings.validation, settings.seed)
        self.gen_train, self.gen_validation = (rows.to(device) for rows in everything)
        self.reco_train, self.reco_validation = (rows.to(device) for rows in matched)

    def train(self) -> dict[str, History]:
        """Train what the model has; return the loss curves."""
        histories = {"efficiency": self._efficiency()}
        if self.model.categories is not None:
            histories["categories"] = self._categories()
        if self.model.flow is not None:
            histories["flow"] = self._flow()
        self.model.eval()
        return histories

    @torch.no_grad()
    def metrics(self) -> dict[str, Any]:
        """Calibration of the efficiency on the validation rows."""
        rows = self.gen_validation
        probability = self.model.efficiency(self.data.features[rows])
        label = self.data.reconstructed[rows]
        return {
            "efficiency_mean": float(probability.mean()),
            "efficiency_true": float(label.mean()),
        }

    def _run(
        self, name: str, loss: Callable[[Tensor], Tensor], train: Tensor, validation: Tensor
    ) -> History:
        settings = self.settings
        folder = settings.checkpoints
        return optimise(
            getattr(self.model, name),
            loss,
            train,
            validation,
            getattr(settings, name),
            stage=name,
            seed=settings.seed,
            progress=self.progress,
            checkpoint=None if folder is None else folder / f"{name}.pt",
            fingerprint=f"{self.fingerprint} {settings_of(name, NETWORKS, settings)}",
        )

    def _efficiency(self) -> History:
        data, net = self.data, self.model.efficiency

        def loss(rows: Tensor) -> Tensor:
            return net.loss(data.features[rows], data.reconstructed[rows])

        history = self._run("efficiency", loss, self.gen_train, self.gen_validation)
        with torch.no_grad():
            score = net.logit(data.features[self.gen_validation])
        net.calibrate(score.cpu(), data.reconstructed[self.gen_validation].cpu())
        return history

    def _categories(self) -> History:
        data, head = self.data, self.model.categories
        if head is None:
            msg = "the model has no categorical head to train"
            raise TrainingError(msg)

        def loss(rows: Tensor) -> Tensor:
            context = data.features[data.matched[rows]]
            return -head(data.encoded[rows].float(), context)  # type: ignore[no-any-return]

        return self._run("categories", loss, self.reco_train, self.reco_validation)

    def _flow(self) -> History:
        data, flow = self.data, self.model.flow
        if flow is None:
            msg = "the model has no flow to train"
            raise TrainingError(msg)

        def loss(rows: Tensor) -> Tensor:
            features = data.features[data.matched[rows]]
            context = torch.cat([features, data.encoded[rows].float()], 1)
            return -flow(data.latent[rows], context)  # type: ignore[no-any-return]

        return self._run("flow", loss, self.reco_train, self.reco_validation)


def _spec(layout: ObjectLayout, settings: TrainingSettings) -> ObjectSpec:
    width = sum(c.chain.width for c in layout.conditions)
    sizes = tuple(len(c.values) for c in layout.discrete)
    head = HeadSpec(sizes, width, settings.hidden) if sizes else None
    flow = None
    if layout.targets:
        flow = FlowSpec(
            features=len(layout.targets),
            context=width + sum(sizes),
            layers=settings.layers,
            hidden=settings.hidden,
            blocks=settings.blocks,
            bins=settings.bins,
            bound=settings.bound,
            embedding=settings.embedding,
            seed=settings.seed,
        )
    return ObjectSpec(MlpSpec(width, settings.efficiency_hidden), head, flow)


def _profile(table: TrainingTable) -> Tensor | None:
    return None if table.pileup is None else torch.from_numpy(thin(table.pileup))


def _continued(start: Bundle, table: TrainingTable) -> ObjectModel:
    model = ObjectModel.from_bundle(start, where=f"bundle {start.card.name!r}")
    profile = _profile(table)
    if profile is not None and len(profile):
        model.pileup = profile
    return model.train()


def _provenance(settings: TrainingSettings, data: Prepared, start: Bundle | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "generator_objects": len(data.features),
        "reconstructed_objects": len(data.matched),
    }
    return provenance(settings, start) | values | dict(settings.provenance)


def _fingerprint(data: Prepared, layout: ObjectLayout) -> str:
    tensors = (data.features, data.latent, data.encoded, data.reconstructed)
    return fingerprint(layout, *tensors)

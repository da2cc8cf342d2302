"""From a table of contexts with their samples to a bundle: one flow, and how many samples."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flows.architectures import ConditionalFlow
from flows.bundle import Bundle
from flows.counting import PoissonMean
from flows.engine.compile_plan import compile_plan
from flows.engine.trainable import TrainableFlow
from flows.flowmodel import FlowModel, flow_bundle
from flows.layout import ObjectLayout
from flows.optimise import History, Progress, Recipe, optimise
from flows.reference import with_reference
from flows.spec import FlowSpec, LayerSpec, MlpSpec
from flows.tables import check_finite, check_shapes, held_back, seed_of_validation
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

__all__ = ["FlowSettings", "FlowTable", "train_flow"]

FLOW = Recipe(epochs=30, batch=256)
NUMBERS = Recipe(epochs=60, batch=512, lr=3e-3)
NETWORKS = ("flow", "numbers")
FITTED = 1_000_000
"""Samples that transforms are fitted on, evenly spread over the table."""
PIECE = 1_000_000
"""Samples that are transformed at a time."""

ProgressCall = Callable[[Progress], None]


class FlowTable(NamedTuple):
    """Contexts to learn from, with the samples that belong to each, in physics units.

    Attributes:
        conditions: float32 ``(n, C)``.
        counts: int64 ``(n,)``, samples of each context in the table.
        targets: float32 ``(counts.sum(), T)``, those of a context next to each other.
        groups: integers ``(n,)``: contexts with the same number are never split over training and
            validation.
        numbers: int64 ``(n,)``, how many samples a context had, at least ``counts``; ``None``
            where nobody knows.
        exposure: float64 ``(n,)``, what the mean number is proportional to, NaN where that is
            unknown: such contexts teach the flow alone; goes with ``numbers``.
    """

    conditions: NDArray[np.float32]
    counts: NDArray[np.int64]
    targets: NDArray[np.float32]
    groups: NDArray[Any]
    numbers: NDArray[np.int64] | None = None
    exposure: NDArray[np.float64] | None = None

    def take(self, chosen: NDArray[np.bool_]) -> FlowTable:
        """Contexts ``(n,)`` with their samples."""
        return FlowTable(
            conditions=self.conditions[chosen],
            counts=self.counts[chosen],
            targets=self.targets[np.repeat(chosen, self.counts)],
            groups=self.groups[chosen],
            numbers=None if self.numbers is None else self.numbers[chosen],
            exposure=None if self.exposure is None else self.exposure[chosen],
        )


@dataclass(frozen=True)
class FlowSettings(RunSettings):
    """Everything that decides the training of a flow beside its table.

    Arguments:
        flow: Recipe of the flow; its batch counts contexts.
        numbers: Recipe of the network of numbers; likewise.
        hidden: Width of the flow's hidden layers.
        blocks: Residual blocks of the flow's networks.
        bins: Spline bins.
        bound: Half-width of the splines' box.
        layers: The flow's layers from the data's side.
        embedding: Widths of the network that digests the flow's context.
        numbers_hidden: Widths of the hidden layers of the network of numbers.
        samples: Samples of a context that a step sees, evenly spread over those it has.
        emphasis: A context weighs as this power of its number of samples: 0 all alike, 1 as much
            as it has samples.
    """

    flow: Recipe = FLOW
    numbers: Recipe = NUMBERS
    hidden: int = 128
    blocks: int = 2
    bins: int = 24
    bound: float = 4.0
    layers: tuple[LayerSpec, ...] = (LayerSpec("affine", "same"), LayerSpec("spline", "same"))
    embedding: tuple[int, ...] = ()
    numbers_hidden: tuple[int, ...] = (128, 128, 128)
    samples: int = 64
    emphasis: float = 0.3

    def quick(self, epochs: int = 2) -> FlowSettings:
        """Same settings with few epochs for both networks: for tests and first looks."""
        short = {n: dataclasses.replace(getattr(self, n), epochs=epochs) for n in NETWORKS}
        return dataclasses.replace(self, **short)


@denormals_flushed()
def train_flow(
    table: FlowTable,
    layout: ObjectLayout,
    settings: FlowSettings,
    *,
    definitions: dict[str, Any] | None = None,
    progress: ProgressCall | None = None,
    start_from: Bundle | None = None,
) -> Bundle:
    """Train a flow of any number of targets, and the mean number of samples where it is known.

    Arguments:
        table: Contexts and samples.
        layout: Conditions and targets; transforms without constants are fitted here.
        settings: How to train.
        definitions: What the columns mean, for the card.
        progress: Called after every epoch of every network.
        start_from: Bundle of the same columns, trained here or imported, whose weights, transforms
            and definitions are the start (fine-tuning); the ranges widen.
    Returns: the bundle; ``card.metrics`` holds the loss curves by network.
    Raises: ValueError if table and layout do not belong together; TrainingError if it fails.
    """
    check_flow_table(table, layout)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    if start_from is None:
        fitted = _fitted(table, layout)
        learner = TrainableFlow(compile_plan(ConditionalFlow(_spec(fitted, settings)).eval()))
        model = FlowModel(fitted, learner.plan(), definitions)
    else:
        same_columns(layout, start_from)
        model = FlowModel.from_bundle(start_from, where=f"bundle {start_from.card.name!r}")
        learner = TrainableFlow(model.plan)
    trainer = _Trainer(model, learner, table, settings, progress)
    trainer.check_exposures()
    histories = {"flow": trainer.flow(keep_start=start_from is not None)}
    numbers = model.numbers
    if table.numbers is not None:
        numbers, histories["numbers"] = trainer.numbers(model.numbers)
    trained = FlowModel(model.layout, learner.plan(), model.definitions, numbers)
    told = {"contexts": len(table.counts), "samples": len(table.targets)} | _unknown(table)
    bundle = flow_bundle(
        trained,
        settings.name or layout.object,
        ranges(model.layout, table.conditions, start_from),
        era=settings.era,
        seed_system=settings.seed_system,
        source=settings.source,
        provenance=provenance(settings, start_from) | told | dict(settings.provenance),
        metrics={name: curves(history) for name, history in histories.items()},
    )
    spread = np.linspace(0, len(table.counts) - 1, min(len(table.counts), 1024)).astype(np.int64)
    return with_reference(bundle, table.conditions[np.random.default_rng(0).permutation(spread)])


def check_flow_table(table: FlowTable, layout: ObjectLayout) -> None:
    """Compare shapes and values with the layout.

    Raises: ValueError naming the column, what was expected and what was found.
    """
    n, total = len(table.conditions), int(table.counts.sum())
    shapes = {
        "conditions": (table.conditions.shape, (n, len(layout.conditions))),
        "counts": (table.counts.shape, (n,)),
        "targets": (table.targets.shape, (total, len(layout.targets))),
        "groups": (table.groups.shape, (n,)),
    }
    if (table.numbers is None) != (table.exposure is None):
        msg = "flow table: numbers of samples and their exposure go together; give both or none"
        raise ValueError(msg)
    if table.numbers is not None and table.exposure is not None:
        shapes["numbers"] = (table.numbers.shape, (n,))
        shapes["exposure"] = (table.exposure.shape, (n,))
    check_shapes("flow table", shapes)
    check_finite("condition", layout.condition_names, table.conditions)
    check_finite("target", layout.target_names, table.targets)
    if table.exposure is not None:
        given = table.exposure[~np.isnan(table.exposure)]
        if not (np.isfinite(given) & (given > 0)).all():
            msg = "flow table: exposures must be positive and finite; NaN where they are unknown"
            raise ValueError(msg)


class _Trainer:
    """The networks of a flow model, trained one after the other."""

    def __init__(
        self,
        model: FlowModel,
        learner: TrainableFlow,
        table: FlowTable,
        settings: FlowSettings,
        progress: ProgressCall | None,
    ) -> None:
        device, self.settings, self.progress = settings.device, settings, progress
        self.learner = learner.to(device)
        self.table = table
        with torch.no_grad():
            features = model.context(torch.from_numpy(table.conditions).double())
        latent = _latent(model, table)
        told = [a for a in (table.numbers, table.exposure) if a is not None]
        self.fingerprint = fingerprint(
            model.layout, features, latent, *(torch.from_numpy(np.asarray(one)) for one in told)
        )
        self.features, self.latent = features.to(device), latent.to(device)
        self.counts = torch.from_numpy(table.counts).to(device)
        self.offsets = torch.cumsum(self.counts, 0) - self.counts
        seed = seed_of_validation(settings.seed)
        self.held = torch.from_numpy(held_back(table.groups, settings.validation, seed))
        exposure = np.ones(len(table.counts)) if table.exposure is None else table.exposure
        self.known = torch.from_numpy(~np.isnan(exposure))

    def check_exposures(self) -> None:
        """Refuse, before the flow is trained, what the numbers cannot be trained on.

        Raises: ValueError where training or validation has no context with an exposure.
        """
        if self.table.exposure is None:
            return
        train, validation = (int((self.known & side).sum()) for side in (~self.held, self.held))
        if not (train and validation):
            msg = (
                f"flow table: {train} contexts with a known exposure train the numbers, "
                f"{validation} validate them; give more such contexts, or leave out numbers"
            )
            raise ValueError(msg)

    def flow(self, *, keep_start: bool) -> History:
        """Train the flow on the contexts that have samples; see :func:`optimise`."""
        weights = self.counts.double().pow(self.settings.emphasis)
        weights = (weights / weights[self.counts > 0].mean()).float()

        def loss(rows: Tensor) -> Tensor:
            return -weights[rows] * self._density(rows)

        return self._run("flow", self.learner, loss, self.counts.cpu() > 0, keep_start)

    def numbers(self, start_from: PoissonMean | None) -> tuple[PoissonMean, History]:
        """Train the mean number of samples, from what a model knows of it, if it does.

        Contexts without an exposure take no part.
        """
        table, device = self.table, self.settings.device
        number = torch.from_numpy(np.asarray(table.numbers)).to(device).float()
        exposure = torch.from_numpy(np.asarray(table.exposure)).to(device).float()
        if start_from is None:
            width = self.features.shape[1]
            net = PoissonMean(MlpSpec(width, self.settings.numbers_hidden)).to(device)
            known = self.known.to(device)
            net.start(number[known], exposure[known])
        else:
            net = copy.deepcopy(start_from).to(device).requires_grad_(True)

        def loss(rows: Tensor) -> Tensor:
            return net.loss(self.features[rows], exposure[rows], number[rows])

        history = self._run("numbers", net, loss, self.known, start_from is not None)
        return net.cpu().eval().requires_grad_(False), history

    def _density(self, rows: Tensor) -> Tensor:
        """Mean log-density ``(b,)`` of samples of every context.

        The first of them depends on the rows alone, so that a training goes on as it would have.
        """
        samples = self.settings.samples
        places = torch.Generator().manual_seed(int(rows.sum()) * 31 + int(rows[0]))
        start = torch.rand(len(rows), 1, generator=places).to(rows.device)
        share = (torch.arange(samples, device=rows.device) + start) / samples
        chosen = (share * self.counts[rows, None]).long().clamp(max=self.counts[rows, None] - 1)
        x, context = self.latent[self.offsets[rows, None] + chosen], self.features[rows]
        if x.shape[2] == 1:
            return self.learner.repeated(x[:, :, 0], context).mean(1)
        each = torch.repeat_interleave(context, samples, dim=0)
        density: Tensor = self.learner(x.flatten(0, 1), each).view(len(rows), samples)
        return density.mean(1)

    def _run(
        self,
        name: str,
        module: nn.Module,
        loss: Callable[[Tensor], Tensor],
        usable: Tensor,
        keep_start: bool = False,
    ) -> History:
        settings, folder = self.settings, self.settings.checkpoints
        rows = torch.arange(len(usable))
        train, validation = rows[usable & ~self.held], rows[usable & self.held]
        return optimise(
            module,
            loss,
            train.to(settings.device),
            validation.to(settings.device),
            getattr(settings, name),
            stage=name,
            seed=settings.seed,
            progress=self.progress,
            checkpoint=None if folder is None else folder / f"{name}.pt",
            fingerprint=f"{self.fingerprint} {settings_of(name, NETWORKS, settings)}",
            keep_start=keep_start,
        )


def _unknown(table: FlowTable) -> dict[str, int]:
    """How many contexts teach the flow alone, where numbers are learnt from the others."""
    if table.exposure is None or not np.isnan(table.exposure).any():
        return {}
    return {"contexts_without_exposure": int(np.isnan(table.exposure).sum())}


def _spec(layout: ObjectLayout, settings: FlowSettings) -> FlowSpec:
    return FlowSpec(
        features=len(layout.targets),
        context=sum(c.chain.width for c in layout.conditions),
        layers=settings.layers,
        hidden=settings.hidden,
        blocks=settings.blocks,
        bins=settings.bins,
        bound=settings.bound,
        embedding=settings.embedding,
        seed=settings.seed,
    )


def _fitted(table: FlowTable, layout: ObjectLayout) -> ObjectLayout:
    """Fit every transform that lacks constants."""
    conditions = tuple(
        dataclasses.replace(c, transforms=c.chain.fit(torch.from_numpy(values)).transforms)
        for c, values in zip(layout.conditions, np.ascontiguousarray(table.conditions.T))
    )
    every = max(1, len(table.targets) // FITTED)
    some = slice(None, None, every)
    rows = np.repeat(np.arange(len(table.counts)), table.counts)[some]
    given = {
        n: torch.from_numpy(np.ascontiguousarray(values[rows]))
        for n, values in zip(layout.condition_names, table.conditions.T)
    }
    targets = tuple(
        dataclasses.replace(
            t, transforms=t.chain.fit(torch.from_numpy(values.copy()), given).transforms
        )
        for t, values in zip(layout.targets, table.targets[some].T)
    )
    return dataclasses.replace(layout, conditions=conditions, targets=targets)


def _latent(model: FlowModel, table: FlowTable) -> Tensor:
    """What the flow sees of the targets, float32 ``(N, T)``."""
    parts = [torch.zeros(0, len(model.layout.targets))]
    with torch.no_grad():
        for contexts, samples in _pieces(table.counts):
            counts = torch.from_numpy(table.counts[contexts])
            given = torch.from_numpy(table.conditions[contexts]).double()
            each = torch.repeat_interleave(given, counts, dim=0)
            parts.append(model.latent(torch.from_numpy(table.targets[samples]), each))
    latent = torch.cat(parts)
    wrong = (~torch.isfinite(latent)).sum(0).tolist()
    for name, count in zip(model.layout.target_names, wrong):
        if count:
            msg = (
                f"target {name!r}: its transforms make {count} of {len(latent)} training values "
                f"not finite; drop them, or clip first"
            )
            raise ValueError(msg)
    return latent


def _pieces(counts: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Contexts with their samples, some :data:`PIECE` samples at a time."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    start = 0
    while start < len(counts):
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + PIECE, "right")) - 1)
        yield slice(start, stop), slice(int(offsets[start]), int(offsets[stop]))
        start = stop

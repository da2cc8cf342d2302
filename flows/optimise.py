"""The training loop of one network: AdamW, one cycle of learning rate, averaged weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["History", "Progress", "Recipe", "TrainingError", "optimise"]

_log = logging.getLogger(__name__)

EVALUATION_ROWS = 8192
"""Rows per pass when no gradient is needed."""


class TrainingError(RuntimeError):
    """Training cannot go on: the loss stopped being a number, or a checkpoint is another's."""


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Arguments:
        epochs: Passes over the training rows.
        batch: Rows per step.
        lr: Largest learning rate.
        warmup: Share of the steps in which the rate rises from a tenth to ``lr``.
        final: Rate at the end of the cosine, as a share of ``lr``.
        weight_decay: Decoupled weight decay.
        clip: Largest norm of the gradient.
        average: Decay of the running average of the weights per step.
        patience: Epochs without a better validation loss before it stops.
    """

    epochs: int = 40
    batch: int = 1024
    lr: float = 2e-3
    warmup: float = 0.05
    final: float = 0.01
    weight_decay: float = 1e-4
    clip: float = 5.0
    average: float = 0.998
    patience: int = 15

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at a step: linear rise, then half a cosine.

        Example:
            >>> r = Recipe(lr=1.0, final=0.0)
            >>> r.rate(50, 1000), r.rate(1000, 1000)
            (1.0, 0.0)
        """
        rise = max(1.0, self.warmup * steps)
        if step < rise:
            return self.lr * (0.1 + 0.9 * step / rise)
        share = min(1.0, (step - rise) / max(1.0, steps - rise))
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * share)))


class Progress(NamedTuple):
    """Where training stands, given to the caller after every epoch."""

    stage: str
    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    best_loss: float
    rows_per_second: float
    seconds: float


@dataclass
class History:
    """Loss curves of one network.

    ``train`` is the mean over the epoch's steps, ``validation`` that of the averaged weights,
    ``start`` that of the weights before the first step, where they are worth keeping.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = -1
    skipped_steps: int = 0
    start: float = math.inf

    @property
    def best(self) -> float:
        """Lowest validation loss."""
        return min(self.start, *self.validation, math.inf)


Loss = Callable[[Tensor], Tensor]
"""Row numbers ``(b,)`` to the loss of each row ``(b,)``."""


def optimise(
    module: nn.Module,
    loss: Loss,
    train: Tensor,
    validation: Tensor,
    recipe: Recipe,
    *,
    stage: str,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    keep_start: bool = False,
) -> History:
    """Train ``module`` and leave the best averaged weights in it.

    Arguments:
        module: Network whose parameters are trained.
        loss: Loss per row, for row numbers of ``train`` and ``validation``.
        train: Row numbers to learn from.
        validation: Row numbers that decide which weights are best.
        recipe: How to train.
        stage: Name used in progress and messages.
        seed: Seed of the order of the rows.
        progress: Called after every epoch.
        checkpoint: File written after every epoch; if it is there, training goes on from it.
        fingerprint: What the checkpoint must belong to.
        keep_start: The weights before the first step are those of a trained network: they stay
            where no epoch is better.
    Raises: TrainingError if more than one step in a hundred has a loss that is not finite, or if
        the checkpoint belongs to another training.
    """
    if len(train) == 0 or len(validation) == 0:
        msg = f"{stage}: {len(train)} rows to train and {len(validation)} to validate; give more"
        raise TrainingError(msg)
    run = _Run(module, recipe, seed, steps=_steps(len(train), recipe) * recipe.epochs)
    if checkpoint is not None and checkpoint.is_file():
        run.load(checkpoint, fingerprint)
        _log.info("%s goes on after epoch %d from %s", stage, run.epoch, checkpoint)
    elif keep_start:
        run.history.start = run.measure(loss, validation)
    started = time.perf_counter()
    while run.epoch < recipe.epochs and not run.stalled():
        begun = time.perf_counter()
        mean = run.sweep(loss, train, stage)
        spent = time.perf_counter() - begun
        run.judge(mean, loss, validation)
        if checkpoint is not None:
            run.save(checkpoint, fingerprint)
        if progress is not None:
            progress(
                Progress(
                    stage=stage,
                    epoch=run.epoch,
                    epochs=recipe.epochs,
                    train_loss=mean,
                    validation_loss=run.history.validation[-1],
                    best_loss=run.history.best,
                    rows_per_second=len(train) / spent,
                    seconds=time.perf_counter() - started,
                )
            )
    run.restore_best()
    return run.history


def _steps(rows: int, recipe: Recipe) -> int:
    return max(1, rows // recipe.batch)


class _Run:
    """State of one training: optimiser, average, best weights, history."""

    def __init__(self, module: nn.Module, recipe: Recipe, seed: int, steps: int) -> None:
        self.recipe, self.steps = recipe, steps
        self.parameters: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.average = [p.detach().clone() for p in self.parameters]
        self.best = [p.detach().clone() for p in self.parameters]
        self.history = History()
        self.step = self.epoch = 0

    def stalled(self) -> bool:
        """Tell whether validation has not improved for too long."""
        return self.epoch - 1 - self.history.best_epoch >= self.recipe.patience

    def sweep(self, loss: Loss, train: Tensor, stage: str) -> float:
        """One epoch of steps; return the mean loss."""
        order = train[torch.randperm(len(train), generator=self.generator)]
        steps, size = _steps(len(train), self.recipe), min(self.recipe.batch, len(train))
        total, skipped = 0.0, 0
        for number in range(steps):
            value = self._advance(loss, order[number * size : (number + 1) * size])
            if math.isfinite(value):
                total += value
            else:
                skipped += 1
        self.history.skipped_steps += skipped
        if skipped > max(1, steps // 100):
            msg = (
                f"{stage}: {skipped} of {steps} steps had a loss that is not finite in epoch "
                f"{self.epoch}; lower the learning rate or look for extreme values in the table"
            )
            raise TrainingError(msg)
        self.epoch += 1
        return total / (steps - skipped)

    def _advance(self, loss: Loss, rows: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step, self.steps)
        self.step += 1
        self.optimiser.zero_grad(set_to_none=True)
        mean = loss(rows).mean()
        mean.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        if not bool(torch.isfinite(norm)):
            return math.nan
        self.optimiser.step()
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return float(mean.detach())

    @torch.no_grad()
    def judge(self, mean: float, loss: Loss, validation: Tensor) -> None:
        """Measure the averaged weights; keep them if they are the best so far."""
        current = [p.detach().clone() for p in self.parameters]
        self._put(self.average)
        value = self.measure(loss, validation)
        self._put(current)
        self.history.train.append(mean)
        if value < self.history.best:
            self.history.best_epoch = self.epoch - 1
            self.best = [p.clone() for p in self.average]
        self.history.validation.append(value)

    @torch.no_grad()
    def measure(self, loss: Loss, validation: Tensor) -> float:
        """Mean loss of the weights of now."""
        chunks = [loss(rows).double().sum() for rows in torch.split(validation, EVALUATION_ROWS)]
        return float(sum(chunks)) / len(validation)

    @torch.no_grad()
    def restore_best(self) -> None:
        """Leave the best averaged weights in the module."""
        self._put(self.best)

    def _placed(self, values: list[Tensor]) -> list[Tensor]:
        """Values of the parameters, where those are."""
        return [value.to(now.device) for value, now in zip(values, self.parameters)]

    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values):
            parameter.copy_(value)

    def save(self, path: Path, fingerprint: str) -> None:
        """Write a checkpoint; the old one stays until the new one is whole."""
        state = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "step": self.step,
            "current": [p.detach() for p in self.parameters],
            "average": self.average,
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "history": [self.history.train, self.history.validation],
            "best_epoch": self.history.best_epoch,
            "skipped_steps": self.history.skipped_steps,
            "start": self.history.start,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(path)

    @torch.no_grad()
    def load(self, path: Path, fingerprint: str) -> None:
        """Go on from a checkpoint."""
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        if state["fingerprint"] != fingerprint:
            msg = (
                f"checkpoint {path} belongs to another training (table, columns or settings "
                f"changed); remove it, or give another folder"
            )
            raise TrainingError(msg)
        self.epoch, self.step = state["epoch"], state["step"]
        self._put(state["current"])
        self.average, self.best = (self._placed(state[name]) for name in ("average", "best"))
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        train, validation = state["history"]
        counts = state["best_epoch"], state["skipped_steps"]
        self.history = History(train, validation, *counts, state["start"])

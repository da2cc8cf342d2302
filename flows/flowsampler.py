"""The resident form of a flow with its columns: contexts and identities in, samples out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.batching import ComputePool
from flows.bundle import Bundle
from flows.counting import PoissonMean
from flows.engine.facade import Engine
from flows.flowmodel import FlowModel
from flows.flowrunner import flow_runner
from flows.noise import Identity, row_normals
from flows.resident import ResidentModel
from flows.work import Work

__all__ = ["COUNTERS", "PURPOSE", "FlowSampler", "MeanNumbers", "Outside", "Sampled"]

NUMBER = "number"
"""Stage that computes mean numbers."""
PURPOSE = "flow"
"""Purpose of the noise that samples are drawn from."""
RANGE_SLACK = 1e-6
"""Share of a training range by which a condition may leave it before it is counted."""
COUNTERS = (
    "contexts",
    "samples",
    "nonfinite_conditions",
    "outside_training_range",
    "conditions_clipped",
    "clipped",
    "nonfinite",
)

Outside = Literal["flag", "clip"]
"""What becomes of conditions outside the training range: used as they are, or moved to its edge."""
Array = NDArray[Any]


class Sampled(NamedTuple):
    """What came out of one call.

    Attributes:
        targets: float32, in the units of the card's targets: ``(n, T)``, or ``(N,)`` where every
            context has its own number of samples.
        outside: bool ``(n,)``, a condition of the context is outside its training range.
        counters: ``contexts`` in, ``samples`` out, contexts with ``nonfinite_conditions`` (all
            their samples are NaN), contexts ``outside_training_range``, contexts whose
            ``conditions_clipped``, samples that are ``nonfinite`` though their conditions were not,
            finite samples ``clipped`` because they left the image of a transform.
        work: What it cost, by stage; no part of the result.
    """

    targets: NDArray[np.float32]
    outside: NDArray[np.bool_]
    counters: dict[str, int]
    work: dict[str, Work]


class MeanNumbers(NamedTuple):
    """How many samples contexts have.

    Attributes:
        per_exposure: Mean per unit of exposure ``(n,)``, NaN where a condition is.
        work: What it cost, by stage; no part of the result.
    """

    per_exposure: NDArray[np.float64]
    work: dict[str, Work]


class FlowSampler(ResidentModel):
    """Draws samples; a sample depends on its context and identity, on no other row or call."""

    def __init__(self, bundle: Bundle, path: Path | None, device: str, pool: ComputePool) -> None:
        super().__init__(bundle, path, device, pool)
        self.model = FlowModel.from_bundle(bundle, where=f"bundle {path or self.card.name}")
        self.layout, plan = self.model.layout, self.model.plan
        self.engine = Engine(plan, pool.threads)
        self._run = flow_runner(self.model, device)
        base = torch.tensor(np.stack([plan.base.loc, plan.base.scale]), dtype=torch.float32)
        self._base = base.to(device)
        self.stage("draw", self._draw)
        self.stage("decode", self._decode)
        self._encodes = self.stage("encode", self._encode)
        if self.model.numbers is not None:
            self.stage(NUMBER, self._counting(self.model.numbers.to(device)))
        self._ranges = self._training_ranges()

    def sample(
        self, conditions: Array, identity: Identity, *, outside: Outside = "flag"
    ) -> Sampled:
        """Draw one sample per context.

        Arguments:
            conditions: ``(n, C)`` in the card's order and units.
            identity: Whose noise to use ``(n,)``.
            outside: What becomes of conditions outside the training range.
        Raises: ValueError if the shapes do not match the card.
        """
        if self.model.plan.features == 1:
            counts = np.ones(len(identity), dtype=np.int64)
            result = self.sample_repeated(conditions, counts, identity, outside=outside)
            return result._replace(targets=result.targets[:, None])
        given, far, counters = self._checked(conditions, len(identity), outside)
        work = {"draw": Work()}
        usable = _finite(given)
        targets = np.full((len(given), self.model.plan.features), np.nan, dtype=np.float32)
        if usable.any():
            chosen = identity.take(usable)
            noise = chosen.keys(PURPOSE), chosen.counters()
            values, left = self.run("draw", work, given[usable], *noise)
            targets[usable] = values
            counters["clipped"] = int(left.sum())
            counters["nonfinite"] = int((~_finite(values)).sum())
        counters["samples"] = len(targets)
        return Sampled(targets, far, counters, work)

    def sample_repeated(
        self,
        conditions: Array,
        counts: NDArray[np.int64],
        identity: Identity,
        *,
        outside: Outside = "flag",
    ) -> Sampled:
        """Draw ``counts[i]`` samples of context i from a flow of one target.

        Arguments:
            conditions: ``(n, C)`` in the card's order and units.
            counts: ``(n,)``.
            identity: Whose noise to use ``(n,)``; sample s takes dimension s of its row.
            outside: What becomes of conditions outside the training range.
        Returns: targets ``(sum of counts,)``, those of a context next to each other.
        Raises: ValueError if the shapes do not match the card, the flow has more targets, or
            counts are no integers.
        """
        given, far, counters = self._checked(conditions, len(identity), outside)
        number = torch.from_numpy(_whole(counts))
        physics, spread = torch.from_numpy(given).to(self.device), number.to(self.device)
        context = self.model.context(physics)
        latent, done = self.engine.repeated.counted(context, number, identity, PURPOSE)
        values, left = self.model.physical(latent[:, None], physics, spread)
        values = values.to(torch.float32)
        bad = ~torch.isfinite(values[:, 0])
        left &= ~bad
        usable = torch.from_numpy(_finite(given)).to(self.device)
        if not usable.all():
            lost = ~torch.repeat_interleave(usable, spread)
            values[lost] = torch.nan
            left, bad = left & ~lost, bad & ~lost
        counters["clipped"], counters["nonfinite"] = int(left.sum()), int(bad.sum())
        counters["samples"] = len(values)
        return Sampled(values[:, 0].cpu().numpy(), far, counters, {"repeated": done})

    def outside_training_range(self, conditions: Array) -> NDArray[np.bool_]:
        """Rows ``(n,)`` with a condition outside its training range; none that is not finite.

        Arguments:
            conditions: ``(n, C)`` in the card's order and units.
        Raises: ValueError if the shapes do not match the card.
        """
        return self._checked(conditions, len(np.atleast_1d(conditions)), "flag")[1]

    @property
    def counts_samples(self) -> bool:
        """Tell whether the model knows how many samples a context has."""
        return self.model.numbers is not None

    def mean_numbers(self, conditions: Array, *, outside: Outside = "flag") -> MeanNumbers:
        """Mean number of samples of every context.

        Arguments:
            conditions: ``(n, C)`` in the card's order and units.
            outside: What becomes of conditions outside the training range.
        Raises: ValueError if the shapes do not match the card, or the model does not know numbers.
        """
        if not self.counts_samples:
            msg = (
                f"model {self.card.name!r} does not know how many samples a context has; train "
                f"one with numbers, or ask :attr:`counts_samples` first"
            )
            raise ValueError(msg)
        given, _, _ = self._checked(conditions, len(np.atleast_1d(conditions)), outside)
        usable, work = _finite(given), {NUMBER: Work()}
        mean = np.full(len(given), np.nan)
        if usable.any():
            (mean[usable],) = self.run(NUMBER, work, given[usable])
        return MeanNumbers(mean, work)

    def encode(
        self, targets: Array, conditions: Array, noise: Array | None = None
    ) -> NDArray[np.float32]:
        """Map targets ``(n, T)`` in physics units to noise of the flow ``(n, T)``.

        Arguments:
            noise: Uniform ``(n, T)`` in (0, 1) for the randomised transforms; default: one half.
        Returns: ``(n, T)``, NaN where a condition is not finite; nothing is counted.
        Raises: ValueError if the shapes do not match the card.
        """
        given, _, _ = self._checked(conditions, len(np.atleast_1d(conditions)), "flag")
        data = self._table("targets", targets, len(given), np.float64)
        uniform = np.full(data.shape, 0.5)
        if noise is not None:
            uniform = self._table("noise", noise, len(given), np.float64)
        if not len(given):
            return data.astype(np.float32)
        result: NDArray[np.float32] = self._encodes.apply(given, data, uniform)[0]
        result[~_finite(given)] = np.nan
        return result

    def decode(self, noise: Array, conditions: Array) -> Sampled:
        """Map noise of the flow ``(n, T)`` to targets in physics units.

        Raises: ValueError if the shapes do not match the card.
        """
        given, far, counters = self._checked(conditions, len(np.atleast_1d(conditions)), "flag")
        values, left = self._table("noise", noise, len(given), np.float32), np.zeros(0, bool)
        work = {"decode": Work()}
        if len(given):
            values, left = self.run("decode", work, given, values)
        usable = _finite(given)
        values[~usable] = np.nan
        counters["clipped"] = int((left & usable).sum())
        counters["nonfinite"] = int((~_finite(values) & usable).sum())
        counters["samples"] = len(values)
        return Sampled(values, far, counters, work)

    def reference(self, conditions: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Samples ``(n, T)`` of fixed noise; mean numbers ``(n,)`` where the model knows them."""
        rows = np.arange(len(conditions))
        zero = np.zeros(len(rows), dtype=np.int64)
        name = self.layout.collection
        identity = Identity(0, "reference", name, zero, zero, rows, zero, zero)
        made: dict[str, NDArray[Any]] = {"targets": self.sample(conditions, identity).targets}
        if self.counts_samples:
            made["numbers"] = self.mean_numbers(conditions).per_exposure
        return made

    def stats(self) -> dict[str, Any]:
        """Device, threads, what computes, work done by stage; of repeated contexts too."""
        more: dict[str, Any] = {"way": self._run.way}
        if self.model.plan.features == 1:
            did = self.engine.repeated.stats
            more["repeated"] = asdict(did.work) | {"nonfinite_context": did.nonfinite_context}
        return super().stats() | more

    def _draw(self, conditions: Tensor, keys: Tensor, counters: Tensor) -> tuple[Tensor, ...]:
        first = torch.zeros_like(keys[:, 0])
        normal = row_normals(keys, counters, self.model.plan.features, first)
        return self._decode(conditions, normal * self._base[1] + self._base[0])

    def _decode(self, conditions: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        values, left = self._run.decode(conditions, noise)
        return values, left & torch.isfinite(values).all(1)

    def _encode(self, conditions: Tensor, targets: Tensor, uniform: Tensor) -> tuple[Tensor, ...]:
        latent = self.model.latent(targets, conditions, uniform)
        return (self._run.encode(conditions, latent),)

    def _counting(self, numbers: PoissonMean) -> Callable[[Tensor], tuple[Tensor]]:
        return lambda given: (numbers.per_exposure(self.model.context(given)),)

    def _training_ranges(self) -> NDArray[np.float64]:
        """Edges ``(C, 2)``; infinite where none are known."""
        ranges = self.card.ranges
        edges = [
            (ranges[n].low, ranges[n].high) if n in ranges else (-np.inf, np.inf)
            for n in self.layout.condition_names
        ]
        return np.array(edges, dtype=np.float64)

    def _table(self, what: str, values: Any, rows: int, dtype: Any) -> Array:
        """Values in C order; the compiled flow trusts their shape."""
        table = np.ascontiguousarray(values, dtype=dtype)
        expected = (rows, self.model.plan.features)
        if np.shape(values) != expected:
            msg = (
                f"{what} have shape {np.shape(values)}, model {self.card.name!r} expects "
                f"{expected}: one row per context, columns {list(self.layout.target_names)}"
            )
            raise ValueError(msg)
        return table

    def _checked(
        self, conditions: Any, rows: int, outside: Outside
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[str, int]]:
        """Conditions as they are used, which rows are out of range, counters begun."""
        if outside not in ("flag", "clip"):
            msg = f"outside={outside!r}: conditions out of range are flagged or clipped"
            raise ValueError(msg)
        given = np.array(conditions, dtype=np.float64, order="C")
        expected = (rows, len(self.layout.conditions))
        if given.shape != expected:
            msg = (
                f"conditions have shape {given.shape}, model {self.card.name!r} expects "
                f"{expected}: one row per identity, columns {list(self.layout.condition_names)}"
            )
            raise ValueError(msg)
        low, high = self._ranges.T
        span = np.where(np.isfinite(high - low), high - low, 0.0)
        slack = RANGE_SLACK * np.maximum(span, np.where(np.isfinite(high), np.abs(high), 0.0))
        usable = _finite(given)
        beyond = (given < low - slack) | (given > high + slack)
        far = np.zeros(rows, dtype=np.bool_)
        far[usable] = np.logical_or.reduce(beyond[usable], axis=1)
        counters = dict.fromkeys(COUNTERS, 0) | {
            "contexts": rows,
            "nonfinite_conditions": int((~usable).sum()),
            "outside_training_range": int(far.sum()),
        }
        if outside == "clip":
            given[far] = np.clip(given[far], low, high)
            counters["conditions_clipped"] = int(far.sum())
        return given, far, counters


def _whole(counts: Any) -> NDArray[np.int64]:
    """Counts as the engine takes them.

    Raises: ValueError unless they are integers.
    """
    array = np.asarray(counts)
    if array.dtype.kind not in "iu":
        msg = f"counts are of type {array.dtype}: a number of samples is an integer; round them"
        raise ValueError(msg)
    return np.ascontiguousarray(array, dtype=np.int64)


def _finite(rows: Array) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(rows), axis=1)
    return finite

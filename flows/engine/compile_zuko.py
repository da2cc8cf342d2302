"""Plans from the weights of zuko's neural spline flows; zuko itself is not needed.

Conventions of zuko 1.0 to 1.6 (probabilists/zuko, zuko/flows and zuko/transforms.py): a flow is the
chain of its transforms from data to noise; each lets the spline of a feature depend on the context
and on the features that come earlier in its ``order``; features of equal order do not see each
other, so two orders (``passes=2``) are a coupling whose first half sees the context alone. Splines
live in [−5, 5] and are limited softly. A flow of one feature has no masks, without context it has
nothing but the parameters of its splines.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.engine.plan import Base, Dense, Feedforward, Linear, Made, Plan, Spline, Step
from flows.engine.weights import CompileError, to_array
from flows.spline import Limits

__all__ = ["BOUND", "SLOPE", "compile_zuko"]

BOUND = 5.0
"""Half-width of the box of ``MonotonicRQSTransform``."""
SLOPE = 1e-3
"""Its default ``slope``: least slope at a knot, the greatest being its inverse."""
BASE = (("base.loc", "base._0"), ("base.scale", "base._1"))
"""Names of the base's location and scale: today's, zuko 1.0's."""

RESIDUAL = re.compile(r"\.hyper\.\d+\.\d+\.")
"""A layer inside a layer, in the names of weights."""

Array = NDArray[np.float64]
Order = NDArray[np.int64]
Mask = NDArray[np.bool_]
Weights = Mapping[str, Any]


def compile_zuko(
    weights: Weights,
    *,
    features: int,
    context: int,
    transforms: int,
    hidden_features: Sequence[int],
    bins: int,
    passes: int | None = None,
    slope: float = SLOPE,
) -> Plan:
    """Write the ``state_dict()`` of a ``zuko.flows.NSF`` with ReLU as a plan.

    Everything but the weights is what ``NSF`` was called with; the weights do not hold it, so all
    that can be is compared with their shapes.

    Arguments:
        weights: Tensors by name, masks and orders included.
        passes: ``None`` for autoregressive, 2 for coupling.
        slope: Least slope of the splines.
    Raises: CompileError if names, shapes, masks or orders do not fit the other arguments.

    Example:
        >>> import torch
        >>> splines = "transform.transforms.0.phi."
        >>> phi = {f"{splines}{i}": torch.zeros(1, n) for i, n in enumerate((8, 8, 7))}
        >>> base = {"base.loc": torch.zeros(1), "base.scale": torch.ones(1)}
        >>> plan = compile_zuko(
        ...     phi | base, features=1, context=0, transforms=1, hidden_features=(), bins=8
        ... )
        >>> plan.features, len(plan.steps)
        (1, 1)
    """
    if any(RESIDUAL.search(name) for name in weights):
        msg = (
            "the networks have residual layers (residual=True), whose sums pass no activation; a "
            "plan's blocks begin with one. Train with residual=False, the default"
        )
        raise CompileError(msg)
    reader = _Reader(weights)
    network = _Network(reader, features, context, tuple(hidden_features), bins)
    limits = Limits(0.0, 0.0, slope, np.inf, soft=True)
    steps: list[Step] = []
    columns = np.arange(features)
    for t in range(transforms):
        made, order = network.read(f"transform.transforms.{t}.", passes)
        columns = _rearrange(steps, columns, order)
        steps.append(Spline(made, bins, BOUND, limits))
    _rearrange(steps, columns, np.arange(features))
    base = Base(*(reader.take(names, (features,)) for names in BASE))
    reader.finish()
    return Plan(features, context, (), tuple(steps), base)


def _rearrange(steps: list[Step], columns: Order, wanted: Order) -> Order:
    """Add the permutation that brings features ``wanted`` where ``columns`` stand."""
    if not np.array_equal(columns, wanted):
        matrix = np.eye(len(columns))[np.argsort(columns)[wanted]]
        inverse = np.ascontiguousarray(matrix.T)
        steps.append(Linear(matrix, inverse, np.zeros(len(columns)), 0.0))
    return wanted


class _Reader:
    """Takes tensors by name, compares shapes, remembers what nobody took."""

    def __init__(self, weights: Weights) -> None:
        self.weights, self.left = weights, set(weights)

    def take(self, names: str | tuple[str, ...], shape: tuple[int, ...]) -> Array:
        """Read the tensor of one of these names."""
        known = (names,) if isinstance(names, str) else names
        name = next((n for n in known if n in self.weights), None)
        if name is None:
            msg = f"the weights hold no {' or '.join(known)}; give the whole state_dict() of an NSF"
            raise CompileError(msg)
        found = tuple(self.weights[name].shape)
        if found != shape:
            msg = f"{name} is of shape {found}, expected {shape}; the arguments are of another flow"
            raise CompileError(msg)
        self.left.discard(name)
        return to_array(self.weights[name])

    def finish(self) -> None:
        """Refuse what is left over."""
        if self.left:
            msg = f"the arguments leave no place for {sorted(self.left)}; they are of another flow"
            raise CompileError(msg)


class _Network:
    """Reads the network of one transform."""

    def __init__(
        self, reader: _Reader, features: int, context: int, hidden: tuple[int, ...], bins: int
    ) -> None:
        self.reader, self.features, self.context = reader, features, context
        self.hidden, self.bins, self.outputs = hidden, bins, 3 * bins - 1

    def read(self, where: str, passes: int | None) -> tuple[Made, Order]:
        """Return the network, its features in the order in which it takes them."""
        alone = self.features == 1
        if alone and not self.context:
            return self._constant(where + "phi."), np.zeros(1, np.int64)
        if not self.hidden:
            msg = "a network without hidden layers cannot be compiled"
            raise CompileError(msg)
        classes = np.zeros(1, np.int64) if alone else self._classes(where, passes)
        order = np.argsort(classes, kind="stable")
        return self._masked(where + "hyper.", order, classes[order]), order

    def _constant(self, where: str) -> Made:
        """Parameters that depend on nothing: a network without units."""
        sizes = self.bins, self.bins, self.bins - 1
        parts = [self.reader.take(f"{where}{i}", (1, n))[0] for i, n in enumerate(sizes)]
        none = Dense(np.zeros((0, 1)), np.zeros(0))
        final = Dense(np.zeros((self.outputs, 0)), np.concatenate(parts))
        return Made(none, None, np.zeros(0, np.int64), False, (), final)

    def _classes(self, where: str, passes: int | None) -> Order:
        d = self.features
        classes = self.reader.take(f"{where}order", (d,)).astype(np.int64)
        wanted = d if passes is None else min(max(passes, 1), d)
        if not np.array_equal(np.sort(classes), np.arange(d) // -(-d // wanted)):
            msg = f"{where}order is {classes.tolist()}, not that of {wanted} passes"
            raise CompileError(msg)
        return classes

    def _layers(self, where: str) -> list[tuple[Dense, Mask]]:
        """Layers and masks; a flow of one feature has neither masks nor the feature as input."""
        d, alone = self.features, self.features == 1
        inputs = self.context if alone else d + self.context
        sizes = (inputs, *self.hidden, d * self.outputs)
        layers = []
        for i, (before, after) in enumerate(itertools.pairwise(sizes)):
            name = f"{where}{2 * i}."
            weight = self.reader.take(f"{name}weight", (after, before))
            bias = self.reader.take(f"{name}bias", (after,))
            if alone:
                mask = np.ones((after, before), dtype=bool)
            else:
                mask = self.reader.take(f"{name}mask", (after, before)) != 0
            if alone and i == 0:
                weight, mask = (np.pad(a, ((0, 0), (1, 0))) for a in (weight, mask))
            layers.append((Dense(weight * mask, bias), mask))
        return layers

    def _masked(self, where: str, order: Order, classes: Order) -> Made:
        """Sort features by ``order`` and units by the number of features that they see."""
        d, layers = self.features, self._layers(where)
        seen = np.eye(d + self.context, d, dtype=bool)[:, order]
        columns = np.concatenate([order, np.arange(d, d + self.context)])
        seen = seen[columns]
        dense, degrees = [], []
        for layer, mask in layers[:-1]:
            seen = mask[:, columns].astype(np.int64) @ seen > 0
            weight = layer.weight[:, columns]
            columns = np.argsort(seen.sum(1), kind="stable")
            seen = seen[columns]
            dense.append(Dense(np.ascontiguousarray(weight[columns]), layer.bias[columns]))
            degrees.append(seen.sum(1))
            _need_prefixes(seen, where)
        last, mask = layers[-1]
        rows = (order[:, None] * self.outputs + np.arange(self.outputs)).ravel()
        seen = mask[rows][:, columns].astype(np.int64) @ seen > 0
        _need_prefixes(seen, where)
        if (seen.sum(1) > np.repeat(np.searchsorted(classes, classes), self.outputs)).any():
            msg = f"the masks of {where} let a feature see itself or later ones"
            raise CompileError(msg)
        final = Dense(np.ascontiguousarray(last.weight[rows][:, columns]), last.bias[rows])
        first = Dense(np.ascontiguousarray(dense[0].weight[:, :d]), dense[0].bias)
        given = np.ascontiguousarray(dense[0].weight[:, d:])
        context = Dense(given, np.zeros(len(given))) if self.context else None
        blocks = tuple(Feedforward(*pair) for pair in zip(dense[1:], degrees[1:]))
        return Made(first, context, degrees[0], True, blocks, final, context_rectified=False)


def _need_prefixes(seen: Mask, where: str) -> None:
    if not np.array_equal(seen, np.arange(seen.shape[1]) < seen.sum(1)[:, None]):
        msg = f"a unit of {where} skips a feature that its order puts earlier"
        raise CompileError(msg)

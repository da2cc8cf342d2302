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
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.engine.plan import Base, Dense, Feedforward, Linear, Made, Plan, Residual, Spline, Step
from flows.engine.weights import CompileError, to_array
from flows.spline import Limits

__all__ = ["BOUND", "SLOPE", "compile_zuko"]

BOUND = 5.0
"""Half-width of the box of ``MonotonicRQSTransform``."""
SLOPE = 1e-3
"""Its default ``slope``: least slope at a knot, the greatest being its inverse."""
BASE = (("base.loc", "base._0"), ("base.scale", "base._1"))
"""Names of the base's location and scale: today's, zuko 1.0's."""

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

    Networks with ``residual=True`` are known by the names of their weights. Everything else is what
    ``NSF`` was called with; the weights do not hold it, so all that can be is compared with their
    shapes.

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
        read = self._masked
        if f"{where}hyper.1.0.weight" in self.reader.weights:
            read = self._residual
        return read(where + "hyper.", order, classes[order]), order

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
            layer, mask = self._layer(f"{where}{2 * i}.", before, after)
            if alone and i == 0:
                layer = Dense(np.pad(layer.weight, ((0, 0), (1, 0))), layer.bias)
                mask = np.pad(mask, ((0, 0), (1, 0)))
            layers.append((layer, mask))
        return layers

    def _layer(self, name: str, before: int, after: int) -> tuple[Dense, Mask]:
        """One layer with its mask, applied."""
        weight = self.reader.take(f"{name}weight", (after, before))
        bias = self.reader.take(f"{name}bias", (after,))
        mask = np.ones((after, before), dtype=bool)
        if self.features > 1:
            mask = self.reader.take(f"{name}mask", (after, before)) != 0
        return Dense(weight * mask, bias), mask

    def _masked(self, where: str, order: Order, classes: Order) -> Made:
        """A network whose layers follow each other, each with a relu behind it."""
        layers = self._layers(where)
        stream = self._inputs(order)
        dense = []
        for layer, mask in layers[:-1]:
            stream, sorted_layer = stream.through(layer, mask, where)
            dense.append(Feedforward(sorted_layer, stream.degrees))
        final = self._final(layers[-1], stream, order, classes, where)
        return self._made(dense[0], True, tuple(dense[1:]), final)

    def _residual(self, where: str, order: Order, classes: Order) -> Made:
        """A network of blocks ``h + outer(relu(inner(h)))``, no relu between them."""
        width, *others = self.hidden
        if set(others) - {width}:
            msg = (
                f"the networks have residual=True and hidden layers of widths {self.hidden}: where "
                f"the width changes zuko puts a layer that plans have no form for; only equal "
                f"widths can be compiled"
            )
            raise CompileError(msg)
        layer, mask = self._layer(f"{where}0.", self.features + self.context, width)
        stream, sorted_layer = self._inputs(order).through(layer, mask, where)
        first, blocks = Feedforward(sorted_layer, stream.degrees), []
        for i in range(1, len(self.hidden) + 1):
            inside, inner = stream.through(*self._layer(f"{where}{i}.0.", width, width), where)
            outer = inside.into(*self._layer(f"{where}{i}.2.", width, width), stream, where)
            ones, none = np.ones(width), np.zeros((width, 0))
            degrees = inside.degrees
            blocks.append(Residual(ones, 0 * ones, inner, none, outer, degrees, rectified=False))
        name = f"{where}{len(self.hidden) + 1}."
        last = self._layer(name, width, self.features * self.outputs)
        final = self._final(last, stream, order, classes, where)
        return self._made(first, False, tuple(blocks), final)

    def _inputs(self, order: Order) -> _Units:
        """Features by ``order``, then the context, which sees no feature."""
        d = self.features
        columns = np.concatenate([order, np.arange(d, d + self.context)])
        return _Units(columns, np.eye(d + self.context, d, dtype=bool)[:, order][columns])

    def _final(
        self, last: tuple[Dense, Mask], stream: _Units, order: Order, classes: Order, where: str
    ) -> Dense:
        """The last layer, feature by feature; none may see itself."""
        layer, mask = last
        rows = (order[:, None] * self.outputs + np.arange(self.outputs)).ravel()
        seen = stream.seen_through(mask)[rows]
        _need_prefixes(seen, where)
        if (seen.sum(1) > np.repeat(np.searchsorted(classes, classes), self.outputs)).any():
            msg = f"the masks of {where} let a feature see itself or later ones"
            raise CompileError(msg)
        return Dense(np.ascontiguousarray(layer.weight[rows][:, stream.order]), layer.bias[rows])

    def _made(
        self,
        first: Feedforward,
        rectified: bool,
        blocks: tuple[Feedforward | Residual, ...],
        final: Dense,
    ) -> Made:
        """Part the first layer's features and context."""
        weight = first.dense.weight
        features, given = np.split(weight, [self.features], axis=1)
        dense = Dense(np.ascontiguousarray(features), first.dense.bias)
        context = None
        if self.context:
            context = Dense(np.ascontiguousarray(given), np.zeros(len(given)))
        degrees = first.degrees
        return Made(dense, context, degrees, rectified, blocks, final, context_rectified=False)


class _Units(NamedTuple):
    """Units of a layer in rising order of the features that they see.

    Attributes:
        order: Where they stand in the library's layer.
        seen: Features that they see, in the order of the flow ``(H, D)``.
    """

    order: Order
    seen: Mask

    @property
    def degrees(self) -> Order:
        """How many features they see."""
        degrees: Order = np.count_nonzero(self.seen, axis=1)
        return degrees

    def seen_through(self, mask: Mask) -> Mask:
        """What the outputs of a layer over these units see, in the library's order."""
        reached: Mask = mask[:, self.order].astype(np.int64) @ self.seen > 0
        return reached

    def through(self, layer: Dense, mask: Mask, where: str) -> tuple[_Units, Dense]:
        """Outputs of a layer, sorted, and the layer that makes them of these units."""
        seen = self.seen_through(mask)
        order = np.argsort(seen.sum(1), kind="stable")
        _need_prefixes(seen[order], where)
        weight = np.ascontiguousarray(layer.weight[:, self.order][order])
        return _Units(order, seen[order]), Dense(weight, layer.bias[order])

    def into(self, layer: Dense, mask: Mask, stream: _Units, where: str) -> Dense:
        """The layer that adds to the units of ``stream``, which must not see more for it."""
        seen = self.seen_through(mask)[stream.order]
        if (seen & ~stream.seen).any():
            msg = f"the masks of {where} let a sum see more than what it is added to"
            raise CompileError(msg)
        weight = np.ascontiguousarray(layer.weight[:, self.order][stream.order])
        return Dense(weight, layer.bias[stream.order])


def _need_prefixes(seen: Mask, where: str) -> None:
    if not np.array_equal(seen, np.arange(seen.shape[1]) < seen.sum(1)[:, None]):
        msg = f"a unit of {where} skips a feature that its order puts earlier"
        raise CompileError(msg)

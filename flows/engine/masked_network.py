"""A masked network written degree by degree: every unit once, as soon as it can be known.

A hidden unit of degree g sees the first g features. Once those are known its value is final, so
features and units are computed in turn, every unit once. Degrees are taken in groups: what the
units of a group receive from all earlier ones is summed in wide blocks first, then each degree
adds the few units of its own group. Sums run in the same order either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.engine.assembler import Assembler, Rows
from flows.engine.panel import WIDEST
from flows.engine.plan import Dense, Feedforward, Made, Residual

__all__ = ["MaskedNetwork"]

Array = NDArray[Any]
Counts = NDArray[np.int64]
GROUP_UNITS = 2 * WIDEST
"""Units of a group at least: fewer leave blocks narrow, more shift work to the narrow rest."""


class _Product:
    """One masked product whose inputs become known degree by degree.

    Arguments:
        dense: Weight ``(out, in)``; no bias if the target holds something to start from.
        source: First row of the inputs.
        target: First row of the outputs.
        early: Inputs that are known before each degree ``(D,)``.
        known: Inputs that the outputs of each degree read ``(D,)``.
        ends: Outputs below each degree ``(D + 1,)``.
        rectify: A relu follows.
    """

    def __init__(
        self,
        code: Assembler,
        weight: Array,
        bias: Array | None,
        rows: tuple[int, int],
        known: tuple[Counts, Counts, Counts],
        *,
        rectify: bool = False,
    ) -> None:
        self.code, self.weight, self.bias, self.rectify = code, weight, bias, rectify
        self.source, self.target = rows
        self.early, self.known, self.ends = known
        self.done = 0

    def prepare(self, group: range) -> None:
        """Sum what is known before the group for all its outputs."""
        self.done = int(self.early[group[0]]) if len(group) > 1 else 0
        if self.done:
            start, stop = int(self.ends[group[0]]), int(self.ends[group[-1] + 1])
            bias = None if self.bias is None else self.bias[start:stop]
            weight = self.weight[start:stop, : self.done]
            self.code.panel(weight, self.source, self.target + start, bias=bias)

    def finish(self, degree: int) -> None:
        """Sum the rest for the outputs of one degree."""
        start, stop = int(self.ends[degree]), int(self.ends[degree + 1])
        resumed = self.done > 0 or self.bias is None
        self.code.panel(
            self.weight[start:stop, self.done : int(self.known[degree])],
            self.source + self.done,
            self.target + start,
            bias=None if resumed or self.bias is None else self.bias[start:stop],
            rectify=self.rectify,
        )


class MaskedNetwork:
    """A masked network in steps of one degree.

    Arguments:
        code: Where the instructions go; those that need the context alone are written at once.
        made: The network.
        features: D.
        inputs: First of the rows of ones and, behind it, of the features.
        given: Rows of the context.
    """

    def __init__(
        self, code: Assembler, made: Made, features: int, inputs: int, given: Rows
    ) -> None:
        self.code, self.features = code, features
        self.outputs = len(made.final.bias) // features
        self.ends = _ends(made.degrees, features)
        self.products: list[_Product] = []
        self.steps: list[Callable[[int], None]] = []
        stream = self._first(made, inputs, given)
        ends = self.ends
        for block in made.blocks:
            if isinstance(block, Feedforward):
                after = _ends(block.degrees, features)
                stream = self._product(block.dense, stream, ends, after, rectify=True)
                ends = after
            else:
                stream = self._residual(block, stream, given)
        self._final(made.final, stream, ends)

    def run(self, use: Callable[[int, int], None]) -> None:
        """Compute all; ``use(feature, row of its outputs)`` makes a feature known."""
        for group in self._groups():
            for product in self.products:
                product.prepare(group)
            for feature in group:
                use(feature, self._evaluate(feature))

    def _groups(self) -> list[range]:
        """Cut the degrees into groups of at least :data:`GROUP_UNITS` units."""
        groups, start = [], 0
        for degree in range(1, self.features + 1):
            enough = self.ends[degree] - self.ends[start] >= GROUP_UNITS
            if enough or degree == self.features:
                groups.append(range(start, degree))
                start = degree
        return groups

    def _final(self, final: Dense, stream: int, ends: Counts) -> None:
        """Prepare the last layer; the outputs of a feature pass before those of the next are made.

        Few outputs share blocks with those of other features, so all have their own rows.
        """
        each = np.arange(self.features + 1) * self.outputs
        if self.outputs >= WIDEST:
            target = self.code.allocate(self.outputs).start

            def alone(feature: int) -> int:
                rows, known = slice(each[feature], each[feature + 1]), int(ends[feature + 1])
                weight = final.weight[rows, :known]
                self.code.panel(weight, stream, target, bias=final.bias[rows])
                return target

            self.outputs_of = alone
            return
        target = self.code.allocate(self.features * self.outputs).start
        product = _Product(
            self.code, final.weight, final.bias, (stream, target), (ends[:-1], ends[1:], each)
        )
        self.products.append(product)

        def together(feature: int) -> int:
            product.finish(feature)
            return target + feature * self.outputs

        self.outputs_of = together

    def _evaluate(self, feature: int) -> int:
        """Compute the units that the features before see; return the row of the outputs."""
        for step in self.steps:
            step(feature)
        return self.outputs_of(feature)

    def _first(self, made: Made, inputs: int, given: Rows) -> int:
        hidden = self.code.allocate(len(made.degrees)).start
        known = np.arange(1, self.features + 1)
        start: Array | None = np.zeros(len(made.degrees))
        if made.context is not None:
            layer = made.context
            rectify = made.context_rectified
            self.code.panel(layer.weight, given.start, hidden, bias=layer.bias, rectify=rectify)
            start = None
        weight = np.concatenate([made.first.bias[:, None], made.first.weight], 1)
        self._add(
            _Product(
                self.code,
                weight,
                start,
                (inputs, hidden),
                (known, known, self.ends),
                rectify=made.rectified,
            )
        )
        return hidden

    def _product(
        self, dense: Dense, source: int, before: Counts, after: Counts, *, rectify: bool
    ) -> int:
        target = self.code.allocate(len(dense.bias)).start
        known = before[:-1], before[1:], after
        product = _Product(
            self.code, dense.weight, dense.bias, (source, target), known, rectify=rectify
        )
        self._add(product)
        return target

    def _residual(self, block: Residual, stream: int, given: Rows) -> int:
        code, units = self.code, self.ends
        activated = code.allocate(len(block.scale)).start if block.rectified else stream
        inside = code.allocate(len(block.degrees)).start
        inner_ends = _ends(block.degrees, self.features)
        code.panel(block.context, given.start, inside, bias=block.inner.bias)
        gates = None
        if block.gate is not None:
            gates = code.allocate(len(block.gate.bias)).start
            code.panel(block.gate.weight, given.start, gates, bias=block.gate.bias)

        def activate(degree: int) -> None:
            span = slice(int(units[degree]), int(units[degree + 1]))
            scale, shift = block.scale[span], block.shift[span]
            if len(scale):
                code.rectify(stream + span.start, activated + span.start, scale, shift)

        if block.rectified:
            self.steps.append(activate)
        known = units[:-1], units[1:], inner_ends
        rows = activated, inside
        self._add(_Product(code, block.inner.weight, None, rows, known, rectify=True))
        target = self._product(block.outer, inside, inner_ends, units, rectify=False)

        def join(degree: int) -> None:
            start, stop = int(units[degree]), int(units[degree + 1])
            if stop > start and gates is None:
                code.add(stream + start, stop - start, target + start)
            elif stop > start and gates is not None:
                code.gate(target + start, gates + start, stop - start, stream + start)

        self.steps.append(join)
        return target if gates is None else stream

    def _add(self, product: _Product) -> None:
        self.products.append(product)
        self.steps.append(product.finish)


def _ends(degrees: Counts, features: int) -> Counts:
    """Units below every degree from 0 to D."""
    return np.searchsorted(degrees, np.arange(features + 1))

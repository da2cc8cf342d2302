"""Between physics units and networks, all columns of a layout at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.column_kernels import bound, settle
from flows.discrete import OneHot
from flows.layout import ObjectLayout
from flows.transform import Column, Transform
from flows.warm import compiled_first

__all__ = ["ArrayColumns", "Columns", "Drawn", "TensorColumns"]


class Drawn(NamedTuple):
    """What one pass makes of ``n`` rows.

    Attributes:
        targets: float32 ``(n, T)`` in the targets' units.
        codes: int64 ``(n, K)``, position among the declared values of every visible category.
        outside: bool ``(n,)``, an image was left, so the row was clipped.
        broken: bool ``(n,)``, a target is not finite.
    """

    targets: Tensor
    codes: Tensor
    outside: Tensor
    broken: Tensor


class Columns(Protocol):
    """Columns of a layout, forth and back."""

    def features(self, conditions: Tensor) -> Tensor:
        """Conditions ``(n, C)`` in physics units to float32 columns ``(n, F)`` for the networks."""
        ...

    def to_physics(self, latent: Tensor, conditions: Tensor, codes: Tensor) -> Drawn:
        """Undo the targets' transforms and put the spikes where their hidden category says so.

        Arguments:
            latent: float32 ``(n, T)`` as the flow makes it.
            conditions: float32 ``(n, C)`` in physics units.
            codes: int64 ``(n, K + hidden)``, codes of all discrete columns.
        """
        ...


class TensorColumns:
    """Plain torch on any device: yardstick of :class:`ArrayColumns`."""

    def __init__(self, layout: ObjectLayout) -> None:
        self.layout = layout

    def features(self, conditions: Tensor) -> Tensor:
        """See :class:`Columns`."""
        columns = []
        for column, values in zip(self.layout.conditions, conditions.unbind(1)):
            mapped = column.chain.forward(values).to(torch.float32)
            columns.append(mapped[:, None] if mapped.ndim == 1 else mapped)
        return torch.cat(columns, 1)

    def to_physics(self, latent: Tensor, conditions: Tensor, codes: Tensor) -> Drawn:
        """See :class:`Columns`."""
        given = dict(zip(self.layout.condition_names, conditions.unbind(1)))
        hidden = _hidden(self.layout)
        targets = torch.empty_like(latent)
        outside = torch.zeros(len(latent), dtype=torch.bool, device=latent.device)
        for t, column in enumerate(self.layout.targets):
            values, left = column.chain.inverse(latent[:, t], given)
            if column.spikes:
                code = codes[:, next(hidden)]
                places = torch.tensor(
                    (0.0, *column.spikes), dtype=torch.float64, device=latent.device
                )
                values = torch.where(code > 0, places[code], values)
                left = left & (code == 0)
            targets[:, t] = values.to(torch.float32)
            outside |= left
        broken = ~torch.isfinite(targets).all(1)
        return Drawn(targets, _visible(self.layout, codes), outside, broken)


class ArrayColumns:
    """On the processor: one column after the other through a few compiled passes, in place."""

    def __init__(self, layout: ObjectLayout) -> None:
        self.layout = layout
        self._width = sum(column.chain.width for column in layout.conditions)
        hidden = _hidden(layout)
        self._codes = [next(hidden) if column.spikes else -1 for column in layout.targets]
        self._places = [np.array((0.0, *column.spikes)) for column in layout.targets]
        used = {name for column in layout.targets for name in column.chain.conditions}
        self._undo = [
            [(*t.image, t.inverse_in_place) for t in reversed(column.transforms)]
            for column in layout.targets
        ]
        self._given = {n: c for c, n in enumerate(layout.condition_names) if n in used}
        widths = len(layout.targets), len(layout.conditions), len(layout.discrete)
        latent, conditions, codes = (torch.zeros(0, width) for width in widths)
        compiled_first(self.to_physics, latent, conditions, codes.long())

    def features(self, conditions: Tensor) -> Tensor:
        """See :class:`Columns`."""
        columns = conditions.numpy().T.astype(np.float64, order="C")
        features = np.empty((len(conditions), self._width), dtype=np.float32)
        at = 0
        for column, values in zip(self.layout.conditions, columns):
            wide = isinstance(column.transforms[-1], OneHot) if column.transforms else False
            for transform in column.transforms[: -1 if wide else None]:
                transform.forward_in_place(values, {})
            made = _widened(column.transforms[-1], values) if wide else values[:, None]
            features[:, at : at + made.shape[1]] = made
            at += made.shape[1]
        return torch.from_numpy(features)

    def to_physics(self, latent: Tensor, conditions: Tensor, codes: Tensor) -> Drawn:
        """See :class:`Columns`."""
        rows, known, chosen = len(latent), conditions.numpy(), codes.numpy()
        given = {name: known[:, c].astype(np.float64) for name, c in self._given.items()}
        columns = latent.numpy().T.astype(np.float64, order="C")
        targets = np.empty(columns.shape, dtype=np.float32)
        marks = np.zeros((2, rows), dtype=bool)
        for t, steps in enumerate(self._undo):
            left = np.zeros(rows, dtype=bool)
            for low, high, undo in steps:
                bound(columns[t], low, high, left)
                undo(columns[t], given)
            settle(columns[t], left, chosen, self._codes[t], self._places[t], targets[t], marks)
        outside, broken = torch.from_numpy(marks)
        visible = _visible(self.layout, codes)
        return Drawn(torch.from_numpy(targets).T.contiguous(), visible, outside, broken)


def _hidden(layout: ObjectLayout) -> Iterator[int]:
    """Places of the hidden categories among all codes."""
    return iter(range(len(layout.categories), len(layout.discrete)))


def _visible(layout: ObjectLayout, codes: Tensor) -> Tensor:
    return codes[:, : len(layout.categories)].contiguous()


def _widened(transform: Transform, values: Column) -> NDArray[np.float64]:
    wide: NDArray[np.float64] = transform.forward(torch.from_numpy(values), {}).numpy()
    return wide

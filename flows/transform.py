"""What every column transform is: one declarative, fitted, serialisable map of one column."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Column",
    "Given",
    "GivenColumns",
    "Image",
    "Transform",
    "TransformError",
    "transform_from_dict",
]

Given = Mapping[str, Tensor]
"""Condition columns by name, each ``(n,)`` in physics units."""
Column = NDArray[np.float64]
GivenColumns = Mapping[str, Column]
"""The same as arrays, contiguous."""

_KINDS: dict[str, type[Transform]] = {}


class TransformError(ValueError):
    """A transform was declared, fitted or stored in a way that cannot work."""


class Image(NamedTuple):
    """Closed interval of the values a transform can produce; samples outside cannot be inverted."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Transform(ABC):
    """One map of a column from physics units (``forward``) and back (``inverse``).

    Constants are dataclass fields, so a transform is data: ``to_dict`` and ``transform_from_dict``
    go through JSON without loss. ``fit`` returns a copy whose missing constants come from data.
    Arithmetic follows the precision of the argument; the chains of :mod:`flows.features` use
    float64.
    """

    kind: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            _KINDS[cls.kind] = cls

    @property
    def image(self) -> Image:
        """Where ``forward`` ends up; everything may be inverted unless a subclass says less."""
        return Image()

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions this map needs."""
        return ()

    def width(self) -> int:
        """Number of columns after ``forward``."""
        return 1

    def fit(self, x: Tensor, given: Given) -> Self:
        """Take missing constants from the values ``x`` ``(n,)``; the default has none."""
        del x, given
        return self

    @abstractmethod
    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Map ``x`` ``(n,)``; ``noise`` is uniform in (0, 1), used by the randomised maps alone."""

    @abstractmethod
    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Map back ``y`` ``(n,)`` that lies in the image."""

    def inverse_repeated(self, y: Tensor, given: Given, counts: Tensor) -> Tensor:
        """Map back ``y`` ``(N,)``, of which ``counts[i]`` in a row belong to row i of ``given``.

        A map that condenses its conditions to one number overrides it, and repeats that alone.
        """
        needed = {n: torch.repeat_interleave(given[n], counts) for n in self.conditions}
        return self.inverse(y, needed)

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Overwrite ``x`` ``(n,)`` with :meth:`forward` of it, on the processor, without noise.

        Maps that are used on every object override it by a few passes of numpy.
        """
        x[:] = self.forward(torch.from_numpy(x), _tensors(given)).numpy()

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Overwrite ``y`` ``(n,)`` with :meth:`inverse` of it, on the processor."""
        y[:] = self.inverse(torch.from_numpy(y), _tensors(given)).numpy()

    def to_dict(self) -> dict[str, Any]:
        """Write as plain JSON types, ``kind`` first."""
        values = dataclasses.asdict(self)
        return {"kind": self.kind} | {k: _plain(v) for k, v in values.items()}

    def needs_fit(self) -> bool:
        """Tell whether a constant is still missing."""
        return any(getattr(self, f.name) is None for f in dataclasses.fields(self))


def _tensors(given: GivenColumns) -> Given:
    return {name: torch.from_numpy(column) for name, column in given.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def transform_from_dict(data: Mapping[str, Any]) -> Transform:
    """Read what :meth:`Transform.to_dict` wrote.

    Raises: TransformError for an unknown kind or constants that do not belong to it.

    Example:
        >>> from flows.features import Arctan
        >>> transform_from_dict(Arctan(scale=50.0).to_dict()) == Arctan(scale=50.0)
        True
    """
    kind = data.get("kind")
    if kind not in _KINDS:
        msg = f"unknown column transform {kind!r}; this version knows {sorted(_KINDS)}"
        raise TransformError(msg)
    cls = _KINDS[kind]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "kind"}
    expected = {f.name for f in dataclasses.fields(cls)}
    if set(values) != expected:
        msg = f"transform {kind!r} has constants {sorted(values)}, expected {sorted(expected)}"
        raise TransformError(msg)
    return cls(**values)

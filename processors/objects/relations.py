"""Invertible relations between a stored column and the number that a flow models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from processors.objects.columns import round_mantissa

__all__ = [
    "Absolute",
    "Beside",
    "Columns",
    "Difference",
    "Excess",
    "Ratio",
    "Relation",
    "Share",
    "SignOf",
]

Columns = Mapping[str, np.ndarray]


class Relation(Protocol):
    """How a reconstructed column and the modelled number follow from each other."""

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Modelled number of a reconstructed ``value`` ``(n,)``."""
        ...

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Reconstructed value of a modelled ``target`` ``(n,)``; ``reco`` holds earlier columns."""
        ...

    def floored(self, target: np.ndarray, reco: Columns, gen: Columns) -> int:
        """How many of the ``(n,)`` values a floor moves when :meth:`value` is computed."""
        ...

    def cut(self, value: np.ndarray, reco: Columns, gen: Columns) -> int:
        """How many of the ``(n,)`` values are moved when :meth:`target` is computed."""
        ...


class _NoFloor:
    """Part of a relation that holds for every number."""

    def floored(self, target: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Nothing is moved: 0."""
        return 0

    def cut(self, value: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Nothing is moved: 0."""
        return 0


@dataclass(frozen=True)
class Absolute(_NoFloor):
    """The column itself is modelled."""

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """The value."""
        return value

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """The target."""
        return target


@dataclass(frozen=True)
class Ratio:
    """Value over the generator quantity ``of``, held above ``floor`` in both directions."""

    of: str
    floor: float = 1e-3

    def _reference(self, gen: Columns) -> np.ndarray:
        return np.maximum(gen[self.of].astype(np.float32), np.float32(self.floor))

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Value / gen."""
        return value / self._reference(gen)

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Target x gen."""
        return target * self._reference(gen)

    def floored(self, target: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Generator quantities below the floor."""
        return int(np.count_nonzero(gen[self.of] < np.float32(self.floor)))

    def cut(self, value: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Generator quantities below the floor."""
        return self.floored(value, reco, gen)


@dataclass(frozen=True)
class Difference(_NoFloor):
    """Value minus the generator quantity ``of``; with a ``period``, within half of it."""

    of: str
    period: float | None = None

    def _wrap(self, angle: np.ndarray) -> np.ndarray:
        if self.period is None:
            return angle
        period = np.float32(self.period)
        return angle - period * np.round(angle / period)

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Value - gen, wrapped."""
        return self._wrap(value - gen[self.of].astype(np.float32))

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Target + gen, wrapped."""
        return self._wrap(target + gen[self.of].astype(np.float32))


@dataclass(frozen=True)
class Excess:
    """Value minus the reconstructed column ``over``, never negative: total >= charged part."""

    over: str

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Value - over, at least zero."""
        return np.maximum(value - reco[self.over], np.float32(0))

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Target + over."""
        return np.maximum(target, np.float32(0)) + reco[self.over]

    def floored(self, target: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Negative targets."""
        return int(np.count_nonzero(target < 0))

    def cut(self, value: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Values below the other column."""
        return int(np.count_nonzero(value < reco[self.over]))


@dataclass(frozen=True)
class Beside(_NoFloor):
    """Value minus the reconstructed column ``of`` at the value's own stored precision.

    For a column that falls back to another one: the fallback is then an exact zero.
    """

    of: str
    bits: int

    def _reference(self, reco: Columns) -> np.ndarray:
        return round_mantissa(reco[self.of], self.bits)

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Value - other."""
        return value - self._reference(reco)

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Target + other."""
        return target + self._reference(reco)


@dataclass(frozen=True)
class Share:
    """Value over what the reconstructed fractions ``after`` leave of one: no sum exceeds one.

    Arguments:
        after: Fractions taken first.
        floor: Rest below which the share is zero (chosen: one step of the stored precision).
    """

    after: tuple[str, ...]
    floor: float = 2.0**-7

    def _taken(self, reco: Columns) -> np.ndarray:
        return np.asarray(sum((reco[name] for name in self.after), np.float32(0)))

    def _rest(self, reco: Columns) -> np.ndarray:
        return np.maximum(np.float32(1) - self._taken(reco), np.float32(0))

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Value / rest within [0, 1]."""
        rest = self._rest(reco)
        left = rest > np.float32(self.floor)
        share = np.divide(value, rest, out=np.zeros_like(rest), where=left)
        return np.clip(share, np.float32(0), np.float32(1))

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Target x rest."""
        return target * self._rest(reco)

    def floored(self, target: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Objects whose earlier fractions leave less than nothing."""
        return int(np.count_nonzero(self._taken(reco) > 1))

    def cut(self, value: np.ndarray, reco: Columns, gen: Columns) -> int:
        """Values that are negative, more than the rest, or something of next to no rest."""
        rest = self._rest(reco)
        none = (rest <= np.float32(self.floor)) & (value > 0)
        return int(np.count_nonzero((value < 0) | (value > rest) | none))


@dataclass(frozen=True)
class SignOf(_NoFloor):
    """Integer relative to the sign of a generator quantity: +1 same, -1 opposite."""

    of: str

    def target(self, value: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Value x sign."""
        return value * np.sign(gen[self.of]).astype(value.dtype)

    def value(self, target: np.ndarray, reco: Columns, gen: Columns) -> np.ndarray:
        """Target x sign."""
        return self.target(target, reco, gen)

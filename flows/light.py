"""Times of light counted from the earliest moment at which it can arrive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from flows.relations import given_column
from flows.transform import Given, Transform, TransformError

__all__ = ["LEAST_SINE", "LIGHT_SPEED", "AfterLight"]

LIGHT_SPEED = 299.792458
"""mm/ns."""
LEAST_SINE = 1e-6
"""A track along the bar is given this sine: its length is that of the bar all the same."""


@dataclass(frozen=True)
class AfterLight(Transform):
    r"""Time behind the first light that a straight track can send to the sensor at the high end.

    A particle enters the bar at :math:`z_0` and time 0, and makes light all along its way
    :math:`0 \le s \le L`. Light that left at :math:`s` cannot arrive before

    .. math:: t(s) = \frac{s}{\beta c} + \frac{z_\mathrm{sensor} - z_0 - s\cos\theta}{c / n}

    which is least at one end of the way: a particle that flies towards the sensor along the bar is
    faster than its light. With :math:`y = x - \min(t(0), t(L))` the edge of the distribution stands
    at zero for every track, and no network has to find it.

    Arguments:
        position: Condition: z in mm, ``depth`` mm behind the entrance measured across the bar.
        angle: Condition: polar angle θ to the bar in degrees.
        momentum: Condition: momentum in GeV.
        depth: mm.
        thickness: Of the bar, mm.
        low: z of the low end of the bar, mm.
        high: z of the high end and its sensor, mm.
        index: Of refraction.
        mass: Of the particle, GeV.

    Example:
        >>> t = AfterLight(high=770.0, index=1.58, depth=0.0)
        >>> given = {n: torch.tensor([v]) for n, v in (("z", 0.0), ("theta", 90.0), ("p", 5.0))}
        >>> round(float(t.first_light(given)), 3)
        4.058
    """

    kind: ClassVar[str] = "after-light"
    position: str = "z"
    angle: str = "theta"
    momentum: str = "p"
    depth: float = 0.0
    thickness: float = 10.0
    low: float = -735.0
    high: float = 770.0
    index: float = 1.58
    mass: float = 0.1056583755

    def __post_init__(self) -> None:
        lengths = (self.depth, self.thickness, self.low, self.high)
        fine = all(map(math.isfinite, lengths)) and self.low < self.high and self.thickness > 0
        if not (fine and self.index >= 1 and self.mass > 0):
            msg = f"after-light needs a bar with a length, an index of at least 1, got {self}"
            raise TransformError(msg)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Position, angle, momentum."""
        return (self.position, self.angle, self.momentum)

    def first_light(self, given: Given) -> Tensor:
        """Earliest time of light at the sensor ``(n,)``, ns, float64."""
        z, degrees, p = (given_column(given, name, _DOUBLE) for name in self.conditions)
        theta = torch.deg2rad(degrees)
        cosine, sine = torch.cos(theta), torch.sin(theta).clamp(min=LEAST_SINE)
        entrance = z - self.depth * cosine / sine
        end = torch.where(cosine > 0, self.high, self.low)
        until = torch.where(cosine == 0, torch.inf, (end - entrance) / cosine).clamp(min=0.0)
        length = torch.minimum(self.thickness / sine, until)
        speed = LIGHT_SPEED * p / torch.hypot(p, torch.full_like(p, self.mass))
        start = self._way(entrance)
        stop = self._way(entrance + length * cosine) + length / speed
        return torch.minimum(start, stop)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Subtract the earliest time."""
        return x - self.first_light(given).to(x.dtype)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Add the earliest time."""
        return y + self.first_light(given).to(y.dtype)

    def inverse_repeated(self, y: Tensor, given: Given, counts: Tensor) -> Tensor:
        """Add the earliest time, computed once per row of the conditions."""
        return y + torch.repeat_interleave(self.first_light(given).to(y.dtype), counts)

    def _way(self, z: Tensor) -> Tensor:
        """Time that light needs from z to the sensor on the straight way."""
        return (self.high - z).clamp(min=0.0) * (self.index / LIGHT_SPEED)


_DOUBLE = torch.zeros(0, dtype=torch.float64)

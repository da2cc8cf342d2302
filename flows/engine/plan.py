"""A flow as flat arrays: what every way of running it starts from.

All arrays are float64 in C order. Weights carry their masks; hidden units are sorted by degree, the
number of features a unit may see; batch norm is folded in as it stands in evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flows.spline import Limits

__all__ = [
    "SCALE_RULES",
    "Affine",
    "Base",
    "Coupling",
    "Dense",
    "Feedforward",
    "Gated",
    "Linear",
    "Made",
    "Parametrisation",
    "Plan",
    "Residual",
    "ResidualNet",
    "ScaleRule",
    "Spline",
    "Step",
]

Array = NDArray[np.float64]
Degrees = NDArray[np.int64]


@dataclass(frozen=True)
class Dense:
    """``weight · x + bias``: weight ``(out, in)``, bias ``(out,)``."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Linear:
    """Any chain of permutations, LU factors, scales and shifts: ``y = matrix · x + bias``.

    Attributes:
        matrix: ``(D, D)``.
        inverse: ``(D, D)``.
        bias: ``(D,)``.
        log_det: ln \\|det matrix\\|.
    """

    matrix: Array
    inverse: Array
    bias: Array
    log_det: float


@dataclass(frozen=True)
class Feedforward:
    """``relu(dense(x))``; ``degrees`` ``(H,)`` of its units ascend."""

    dense: Dense
    degrees: Degrees


@dataclass(frozen=True)
class Residual:
    """``x + outer(relu(inner(relu(scale · x + shift)) + context(c))) · σ(gate(c))``.

    Attributes:
        scale: ``(H,)``.
        shift: ``(H,)``.
        inner: ``(H, H)``, its bias holds the context's too.
        context: ``(H, C)``.
        outer: ``(H, H)``.
        degrees: Of the inner units ``(H,)``, ascending; the sum keeps those of x.
        gate: ``(H, C)``, or ``None`` for a block without gate.
        rectified: Scale, shift and relu stand in front of the inner layer. Otherwise it reads x
            itself: then scales are 1, shifts 0, and there is no gate.
    """

    scale: Array
    shift: Array
    inner: Dense
    context: Array
    outer: Dense
    degrees: Degrees
    gate: Dense | None = None
    rectified: bool = True


@dataclass(frozen=True)
class Made:
    """A masked network: ``first(x) + relu(context(c))``, blocks, ``final``.

    In libraries that join context and features before the first layer the context passes no relu of
    its own. Features may share a degree: then those after the first of them find no new units.

    Between ``first`` and a :class:`Feedforward` block, or ``final`` where there is no block and
    ``rectified`` says so, stands another relu.

    Attributes:
        first: ``(H, D)``.
        context: ``(H, C)``, or ``None`` if the network has no context.
        degrees: Of the first layer's units ``(H,)``, ascending.
        rectified: The first layer's sum passes a relu.
        blocks: All of one kind.
        final: ``(D · outputs, H)``, feature by feature.
        context_rectified: The relu of ``context(c)``.
    """

    first: Dense
    context: Dense | None
    degrees: Degrees
    rectified: bool
    blocks: tuple[Feedforward | Residual, ...]
    final: Dense
    context_rectified: bool = True

    @property
    def last_degrees(self) -> Degrees:
        """Degrees of the units that ``final`` reads ``(H,)``."""
        last = self.blocks[-1] if self.blocks else self
        return last.degrees if isinstance(last, Feedforward) else self.degrees


@dataclass(frozen=True)
class ScaleRule:
    """``scale = min(softplus(raw) + least, most)``; forward cuts the shift at ± ``shift_bound``.

    The inverse takes the shift as it is: so it is published, and so it is not an inverse where
    the shift was cut.
    """

    least: float
    most: float = np.inf
    shift_bound: float = np.inf


Parametrisation = Literal["nflows", "flashsim-clamped"]
SCALE_RULES: dict[Parametrisation, ScaleRule] = {
    "nflows": ScaleRule(1e-3),
    "flashsim-clamped": ScaleRule(0.05, 1.0, 50.0),
}
"""nflows 0.14 ``MaskedAffineAutoregressiveTransform``; the modified copy of it that
francesco-vaselli/FlashSim trains with."""


@dataclass(frozen=True)
class Affine:
    """Autoregressive ``y = scale · x + shift``: two outputs (raw scale, shift) per feature."""

    made: Made
    parametrisation: Parametrisation

    @property
    def rule(self) -> ScaleRule:
        """How the scale follows from the network."""
        return SCALE_RULES[self.parametrisation]


@dataclass(frozen=True)
class Spline:
    """Autoregressive rational-quadratic spline with tails of slope one.

    Outputs per feature: K raw widths, K raw heights, K − 1 raw inner slopes.

    Attributes:
        bins: K.
        bound: Half-width of the box.
        limits: Least sizes and slopes, largest raw parameters.
    """

    made: Made
    bins: int
    bound: float
    limits: Limits


@dataclass(frozen=True)
class Gated:
    """``h + outer(relu(inner(relu(scale · h + shift)))) · σ(gate(c))``.

    Attributes:
        scale: ``(H,)``.
        shift: ``(H,)``.
        inner: ``(H, H)``.
        outer: ``(H, H)``.
        gate: ``(H, C)``, or ``None`` if the network has no context: then nothing is gated.
    """

    scale: Array
    shift: Array
    inner: Dense
    outer: Dense
    gate: Dense | None


@dataclass(frozen=True)
class ResidualNet:
    """``first(features, context)``, blocks, ``final``; no masks.

    Attributes:
        first: ``(H, inputs + C)``.
        final: ``(outputs, H)``.
    """

    first: Dense
    blocks: tuple[Gated, ...]
    final: Dense


@dataclass(frozen=True)
class Coupling:
    """Rational-quadratic splines of some features, whose parameters follow from the others.

    Attributes:
        kept: Features that stay and enter the network, ascending.
        moved: Features that are transformed ``(M,)``, ascending.
        net: Its outputs are those of :class:`Spline`, for one moved feature after the other.
        bins: K.
        bound: Half-width of the box.
        limits: Least sizes and slopes, largest raw parameters.
    """

    kept: Degrees
    moved: Degrees
    net: ResidualNet
    bins: int
    bound: float
    limits: Limits


Step = Linear | Affine | Spline | Coupling


@dataclass(frozen=True)
class Base:
    """Independent normal distributions: ``loc`` ``(D,)``, ``scale`` ``(D,)``."""

    loc: Array
    scale: Array


@dataclass(frozen=True)
class Plan:
    """A conditional flow from data to noise.

    Attributes:
        features: D.
        context: Columns C of the context; 0 for none.
        embedding: Layers with SiLU after each that digest the context; empty for none.
        steps: From the data's side.
        base: Distribution of the noise.
    """

    features: int
    context: int
    embedding: tuple[Dense, ...]
    steps: tuple[Step, ...]
    base: Base

    @property
    def embedded(self) -> int:
        """Columns that the steps see of the context."""
        return len(self.embedding[-1].bias) if self.embedding else self.context

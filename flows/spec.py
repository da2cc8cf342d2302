"""Specifications of the networks: plain data that a card can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["FlowSpec", "HeadSpec", "LayerSpec", "MlpSpec", "ObjectSpec", "SpecError"]

LAYERS = ("affine", "spline")
"""Kinds of masked autoregressive layers."""
ORDERS = ("same", "reverse", "random")
"""How the features are reordered in front of a layer."""


class SpecError(ValueError):
    """A specification is incomplete, contradicts itself, or is not one."""


class _Spec:
    def to_dict(self) -> dict[str, Any]:
        """Write as plain JSON types."""
        return _plain(dataclasses.asdict(self))  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises: SpecError for a field that is missing or unknown.
        """
        expected = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if not isinstance(data, Mapping) or set(data) != expected:
            found = sorted(data) if isinstance(data, Mapping) else data
            msg = f"{cls.__name__} has fields {found}, expected {sorted(expected)}"
            raise SpecError(msg)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _positive(spec: Any, *names: str) -> None:
    for name in names:
        if getattr(spec, name) < 1:
            msg = f"{type(spec).__name__} needs {name} of at least 1, not {getattr(spec, name)}"
            raise SpecError(msg)


@dataclass(frozen=True)
class LayerSpec(_Spec):
    """One masked autoregressive layer with the reordering in front of it."""

    kind: str = "spline"
    order: str = "reverse"

    def __post_init__(self) -> None:
        if self.kind not in LAYERS or self.order not in ORDERS:
            msg = f"layer {self} is not one of kinds {LAYERS} with orders {ORDERS}"
            raise SpecError(msg)


@dataclass(frozen=True)
class FlowSpec(_Spec):
    """A conditional autoregressive flow, from data to noise in the order of ``layers``.

    Arguments:
        features: Number of continuous targets.
        context: Number of columns it is conditioned on.
        layers: Layers from the data's side.
        hidden: Width of the hidden layers of every masked network.
        blocks: Residual blocks (two hidden layers each) of every masked network.
        bins: Bins of every spline.
        bound: Half-width of the splines' box, in standard deviations.
        embedding: Widths of a shared network that digests the context first; empty for none.
        seed: Seed of the random orders.
    """

    features: int
    context: int
    layers: tuple[LayerSpec, ...] = (
        LayerSpec("affine", "same"),
        LayerSpec("spline", "reverse"),
        LayerSpec("spline", "random"),
        LayerSpec("spline", "reverse"),
    )
    hidden: int = 128
    blocks: int = 1
    bins: int = 16
    bound: float = 4.0
    embedding: tuple[int, ...] = (128, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        layers = tuple(
            LayerSpec.from_dict(layer) if isinstance(layer, Mapping) else layer
            for layer in self.layers
        )
        object.__setattr__(self, "layers", layers)
        _positive(self, "features", "context", "hidden", "blocks", "bins")
        if not layers or self.bound <= 0:
            msg = "FlowSpec needs at least one layer and a positive bound"
            raise SpecError(msg)


@dataclass(frozen=True)
class HeadSpec(_Spec):
    """An autoregressive softmax over discrete columns.

    Arguments:
        sizes: Number of values of every column, in order.
        context: Number of columns it is conditioned on.
        hidden: Width of the hidden layers.
        blocks: Residual blocks of two hidden layers.
    """

    sizes: tuple[int, ...]
    context: int
    hidden: int = 128
    blocks: int = 1

    def __post_init__(self) -> None:
        _positive(self, "context", "hidden", "blocks")
        if not self.sizes or min(self.sizes) < 1:
            msg = f"HeadSpec needs columns of at least one value, got sizes {self.sizes}"
            raise SpecError(msg)


@dataclass(frozen=True)
class MlpSpec(_Spec):
    """A plain network with SiLU between its layers."""

    inputs: int
    hidden: tuple[int, ...] = (128, 128)
    outputs: int = 1

    def __post_init__(self) -> None:
        _positive(self, "inputs", "outputs")


@dataclass(frozen=True)
class ObjectSpec(_Spec):
    """The networks of an object's model; a part that has nothing to make is ``None``."""

    efficiency: MlpSpec
    categories: HeadSpec | None
    flow: FlowSpec | None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        shell = super().from_dict(data)
        categories: Any = shell.categories
        flow: Any = shell.flow
        return cls(
            MlpSpec.from_dict(shell.efficiency),  # type: ignore[arg-type]
            None if categories is None else HeadSpec.from_dict(categories),
            None if flow is None else FlowSpec.from_dict(flow),
        )

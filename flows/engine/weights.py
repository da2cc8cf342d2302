"""Weights of trained layers as arrays of a plan."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.engine.plan import Dense

__all__ = ["CompileError", "folded_norm", "shrunk", "to_array"]

Array = NDArray[np.float64]


class CompileError(ValueError):
    """A transform has no place in a plan."""


def to_array(tensor: Any) -> Array:
    """Copy a tensor to float64."""
    array: Array = tensor.detach().cpu().double().numpy().copy()
    return array


def folded_norm(layer: Any, width: int) -> tuple[Array, Array]:
    """Scale and shift of a batch norm in evaluation; of none, one and zero."""
    if layer is None:
        return np.ones(width), np.zeros(width)
    scale = to_array(layer.weight) / np.sqrt(to_array(layer.running_var) + layer.eps)
    return scale, to_array(layer.bias) - to_array(layer.running_mean) * scale


def shrunk(final: Dense, bins: int, net: Any) -> Dense:
    """Divide the raw sizes of splines by √hidden, as nflows does if the network tells its width."""
    if not hasattr(net, "hidden_features"):
        return final
    outputs = 3 * bins - 1
    factors = np.ones(outputs)
    factors[: 2 * bins] = 1 / math.sqrt(net.hidden_features)
    rows = np.tile(factors, len(final.bias) // outputs)
    return Dense(final.weight * rows[:, None], final.bias * rows)

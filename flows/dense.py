"""Tensors that are no plain arrays of real numbers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["other_than_dense"]


def other_than_dense(tensor: Tensor) -> str | None:
    """Say what a tensor is in place of a dense one of real numbers, ``None`` if it is one.

    Example:
        >>> other_than_dense(torch.ones(2)), other_than_dense(torch.ones(2).to_sparse())
        (None, 'sparse_coo')
    """
    if tensor.layout is not torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    kinds = {
        "nested": tensor.is_nested,
        "quantised": tensor.is_quantized,
        "complex": tensor.is_complex(),
        "without values (meta)": tensor.is_meta,
    }
    return next((kind for kind, found in kinds.items() if found), None)

"""Triton, where it is installed: kernels for CUDA without a compiler at installation.

Without it, or without a CUDA device, plain torch computes the same. With ``TRITON_INTERPRET=1`` in
the environment before the first import of triton, kernels run on the processor, slowly: so they are
tested where there is no device.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

__all__ = ["INTERPRETED", "Value", "constexpr", "jit", "kernels_for", "place_of", "tl"]


OLDEST_TRITON = (3, 7)
"""Older ones were never tried: plain torch then."""
OLDEST_DEVICE = (8, 0)
"""Compute capability for which kernels were compiled in tests, and later ones."""


def _load() -> Any:
    try:
        found = importlib.import_module("triton")
    except ImportError:
        return None
    version = tuple(int(part) for part in found.__version__.split(".")[:2])
    return found if version >= OLDEST_TRITON else None


_triton = _load()
tl: Any = None if _triton is None else importlib.import_module("triton.language")
# annotations of a kernel: what it is given, what is compiled in; triton takes its own names alone
if TYPE_CHECKING:
    from typing import Any as Value
    from typing import Any as constexpr
elif tl is None:
    Value, constexpr = Any, Any
else:
    Value, constexpr = tl.tensor, tl.constexpr
INTERPRETED = _triton is not None and os.environ.get("TRITON_INTERPRET") == "1"
"""Kernels run on the processor."""


def jit(function: Callable[..., Any]) -> Any:
    """Compile a kernel when it is first launched; without triton it is never launched."""
    return function if _triton is None else _triton.jit(function)


def kernels_for(device: torch.device) -> bool:
    """Tell whether kernels run on tensors of a device."""
    if _triton is None:
        return False
    if INTERPRETED:
        return device.type == "cpu"
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= OLDEST_DEVICE


def place_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Make the device of a tensor the current one: there kernels are launched."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()

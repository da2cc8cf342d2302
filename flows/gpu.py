"""Triton, where it is installed: kernels for CUDA without a compiler at installation.

Without it, or without a CUDA device, plain torch computes the same. With ``TRITON_INTERPRET=1`` in
the environment before the first import of triton, kernels run on the processor, slowly: so they are
tested where there is no device.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["INTERPRETED", "constexpr", "jit", "kernels_for", "tl"]

constexpr = Any
"""Annotation of kernel arguments that are compiled in; triton looks at its name alone."""


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_triton = _load("triton")
tl = _load("triton.language") if _triton is not None else None
INTERPRETED = _triton is not None and os.environ.get("TRITON_INTERPRET") == "1"
"""Kernels run on the processor."""
OLDEST_DEVICE = (7, 0)
"""Compute capability from which triton compiles."""


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

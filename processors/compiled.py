"""How the loops of processors are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a loop on first use, kept beside the sources.

    It releases the interpreter's lock, starts no thread, and treats numbers as numpy does.
    """
    made: Function = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return made

"""Loops over photons, compiled before anybody waits: ``python -m processors.timing.warm``."""

from __future__ import annotations

import sys
from functools import cache

from processors import histogramming
from processors.timing import before_light, ordering, waveform

__all__ = ["compile_kernels", "main"]


@cache
def compile_kernels() -> None:
    """Compile all of them once per process; threads that come meanwhile wait."""
    for owner in (before_light, ordering, waveform, histogramming):
        owner.compile_kernels()


def main() -> int:
    """Compile for this processor; numba keeps the result beside the sources."""
    compile_kernels()
    return 0


if __name__ == "__main__":
    sys.exit(main())

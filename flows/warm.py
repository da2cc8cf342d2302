"""Kernels compiled before anybody waits for them.

``python -m flows.warm`` compiles all of them for this processor; numba keeps the result beside the
sources, or in ``$NUMBA_CACHE_DIR``, one entry per model of processor and version of numba.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["compiled_first", "main"]

_lock = threading.RLock()


def compiled_first(kernel: Callable[..., Any], *arguments: Any) -> None:
    """Call a kernel on no rows, one thread of the process at a time.

    Two threads that meet in the compiler can trip over its tables of types (seen with numba 0.68:
    a ``KeyError`` in ``get_impl_key``), so whoever owns a kernel has it compiled before its
    threads start.
    """
    with _lock:
        kernel(*arguments)


def main() -> int:
    """Compile every kernel of the package for both floating types."""
    import numpy as np
    import torch

    from flows.architectures import ConditionalFlow
    from flows.column_kernels import bound, fill_forward, fill_inverse, settle
    from flows.engine import compile_flow
    from flows.kernels import fused_spline
    from flows.noise import compile_kernels, words
    from flows.spec import FlowSpec

    for features in (1, 3):
        spec = FlowSpec(features=features, context=2, hidden=8)
        engine = compile_flow(ConditionalFlow(spec).eval(), threads=1)
        for dtype in (torch.float32, torch.float64):
            nothing, context = (torch.zeros(1, n, dtype=dtype) for n in (features, 2))
            engine.forward(engine.inverse(nothing, context), context)
            if features == 1:
                engine.repeated.inverse(nothing[:, 0], context, torch.ones(1, dtype=torch.int64))
    x, parameters = torch.randn(2, 3), torch.randn(2, 3, 23, requires_grad=True)
    fused_spline(x, parameters, 8, 4.0)[0].sum().backward()  # type: ignore[no-untyped-call]
    integers = np.zeros((1, 3), dtype=np.int64)
    words(integers[:, :2].copy(), integers, 1, integers[:, 0].copy())
    compile_kernels()
    column, knots, marks = np.zeros(1), np.arange(2.0), np.zeros((2, 1), dtype=bool)
    for fill in (fill_forward, fill_inverse):
        fill(column, knots, knots, knots + 1, column)
    bound(column, -1.0, 1.0, marks[0])
    settle(column, marks[0], integers, 0, knots, np.zeros(1, np.float32), marks)
    return 0


if __name__ == "__main__":
    sys.exit(main())

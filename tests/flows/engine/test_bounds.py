"""Compiled loops look at no bounds: they stay inside their arrays, pages beside them would tell."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import ctypes, sys
import numpy as np
from flows.bundle import Bundle
from flows.engine import cpu_flow
from flows.engine.compile_plan import compile_plan
from flows.objectmodel import ObjectModel

PAGE, NONE, BOTH, PRIVATE = 4096, 0, 3, 0x22
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

side = None

def guarded(shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not size:
        return np.empty(shape, dtype)
    pages = -(-size // PAGE)
    base = libc.mmap(None, (pages + 2) * PAGE, BOTH, PRIVATE, -1, 0)
    for edge in (base, base + (pages + 1) * PAGE):
        libc.mprotect(edge, PAGE, NONE)
    start = base + (PAGE if side == "before" else (pages + 1) * PAGE - size)
    return np.frombuffer((ctypes.c_char * size).from_address(start), dtype).reshape(shape)

cpu_flow.aligned = guarded
for bundle in sys.argv[1:]:
    plan = compile_plan(ObjectModel.from_bundle(Bundle.load(bundle)).flow)
    for dtype in (np.float64, np.float32):
        for side in ("before", "behind"):
            flow = cpu_flow.CpuFlow(plan, dtype)
            for rows in (1, 33, 200):
                print(bundle, dtype.__name__, side, rows, flush=True)
                x, context = (np.zeros((rows, n), dtype) for n in (plan.features, plan.context))
                flow.forward(x, context)
                flow.inverse(x, context)
"""


def test_no_page_beside_an_array_is_touched(repository):
    """What was computed when the process died is the last line that it wrote."""
    bundles = [str(repository / "processors/bundles" / name) for name in ("jet", "muon")]
    command = [sys.executable, "-c", CHILD, *bundles]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 24

"""What a process frees it gets back without asking the kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flows.memory import keep_freed

CHILD = """
import resource, sys
import numpy as np
from flows.memory import keep_freed
if sys.argv[1] == "keep":
    keep_freed()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(20):
    np.ones(1_000_000)
print(faults() - before)
"""


def page_faults(mode: str) -> int:
    # as below Dask's nanny, which sets this
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", CHILD, mode]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_freed_arrays_cost_no_page_faults():
    if not keep_freed():
        pytest.skip("the allocator is not glibc's")
    # 20 arrays of 8 MB: one of them is faulted in, or each; large pages make both numbers smaller
    assert page_faults("keep") < page_faults("leave") / 5

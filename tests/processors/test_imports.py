from __future__ import annotations

import subprocess
import sys

import pytest

CASES = {
    "processors": ("coffea", "torch", "awkward", "uproot", "matplotlib"),
    "processors.objects.columns": ("coffea", "torch", "awkward", "uproot", "pydantic"),
    "processors.flashsim.processor": (
        "dask",
        "distributed",
        "executors",
        "matplotlib",
        "samples",
        "sklearn",
    ),
    "processors.timing.processor": ("dask", "executors", "matplotlib", "samples", "sklearn"),
    "processors.flashsim.lazy": ("dask", "dask_awkward", "distributed", "executors", "sklearn"),
}


@pytest.mark.parametrize("module", list(CASES))
def test_importing_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({set(CASES[module])!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

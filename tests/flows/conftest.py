"""Fixtures of the flows' tests."""

from __future__ import annotations

import os
import sys

import pytest
import torch

if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
    """Read at the first import of triton: its kernels then run on the processor."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Same random numbers in every run and order of the tests."""
    torch.manual_seed(20261122)

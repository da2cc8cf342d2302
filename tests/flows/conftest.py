"""Fixtures of the flows' tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Same random numbers in every run and order of the tests."""
    torch.manual_seed(20261122)

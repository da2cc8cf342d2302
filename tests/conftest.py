"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real NanoAOD files: ``$FLASHBREW_DATA``, else ``../shared/data``."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("FLASHBREW_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of real files at {folder}; set FLASHBREW_DATA to run this test")
    return folder

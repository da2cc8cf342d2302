"""Tiny models, small files, one way to run a processor for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coffea.nanoevents import NanoEventsFactory
from coffea.processor import IterativeExecutor, Runner

from processors.flashsim.processor import FlashSim, FlowNanoAODSchema
from processors.objects.registry import TABLES
from tests.processors.toynano import toy_content, write_toy
from tests.processors.toys import toy_bundle

EVENTS = 150


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles with random weights by object."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: toy_bundle(table).save(folder / name) for name, table in TABLES.items()}


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete made-up file of 150 events."""
    return write_toy(tmp_path_factory.mktemp("nano") / "toy.root", toy_content(EVENTS))


@pytest.fixture(scope="session")
def nanogen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without reconstruction and pile-up."""
    content = toy_content(EVENTS, reco=False, pileup=False)
    return write_toy(tmp_path_factory.mktemp("nanogen") / "gen.root", content)


@pytest.fixture(scope="session")
def open_events() -> Callable[[Path], Any]:
    """Lazily read NanoEvents of a file, as a processor gets them."""

    def opened(path: Path, start: int | None = None, stop: int | None = None) -> Any:
        factory = NanoEventsFactory.from_root(
            {str(path): "Events"},
            schemaclass=FlowNanoAODSchema,
            metadata={"dataset": "toy", "filename": str(path)},
            entry_start=start,
            entry_stop=stop,
        )
        return factory.events()

    return opened


@pytest.fixture(scope="session")
def flashsim(
    bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., FlashSim]:
    """Maker of processors with toy bundles, each writing to a folder of its own."""

    def make(**options: Any) -> FlashSim:
        values = {
            "output": tmp_path_factory.mktemp("output"),
            "bundles": list(bundles.values()),
            "bundle_digests": [],
            "config": {},
            "device": "cpu",
            "seed": 5,
            "format": "root",
            "oversample": 1,
        }
        return FlashSim.from_options(values | options)

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., dict[str, Any]]:
    """Run a processor over a file in coffea's own Runner; returns the result of the dataset."""

    def runner(processor: Any, path: Path, *, chunksize: int = 100_000) -> dict[str, Any]:
        coffea_runner = Runner(
            IterativeExecutor(status=False, retries=0),
            schema=getattr(processor, "schema", FlowNanoAODSchema),
            chunksize=chunksize,
        )
        fileset = {"toy": {"files": {str(path): "Events"}}}
        return coffea_runner(fileset, processor)["toy"]

    return runner

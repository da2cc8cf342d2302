"""Small files of bars, one way to run a processor over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import uproot
from coffea.nanoevents import NanoEventsFactory
from coffea.processor import IterativeExecutor, Runner

from flows.bundle import Bundle
from flows.importers.normflows import import_normflows
from processors.timing.processor import Timing
from processors.timing.schema import DetectorSchema
from samples.timing.bar import Bar
from samples.timing.edm4hep import Collections, make_tree
from samples.timing.muons import Gun
from samples.timing.production import Request, content_of, produce

EVENTS = 90
REQUEST = Request(EVENTS, 5, Gun(theta=(30.0, 150.0)), Bar())
STACK = Request(EVENTS, 6, Gun(theta=(60.0, 120.0), number=2), Bar(layers=3))


def write(path: Path, content: Collections) -> Path:
    """Write collections as they are."""
    with uproot.recreate(path) as file:
        make_tree(file, 1).extend(content)
    return path


def single() -> Collections:
    """Events of one muon in one bar."""
    return content_of(REQUEST, 0)


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One muon per event, one bar, photons."""
    path = tmp_path_factory.mktemp("bars") / "bars.root"
    produce(REQUEST, path, progress=lambda done, total: None)
    return path


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two muons per event, three bars, photons."""
    path = tmp_path_factory.mktemp("stack") / "stack.root"
    produce(STACK, path, progress=lambda done, total: None)
    return path


@pytest.fixture(scope="session")
def photon_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained flow of photon times in work_eic's shape."""
    nf = pytest.importorskip("normflows")
    torch.manual_seed(3)
    spline = nf.flows.AutoregressiveRationalQuadraticSpline(1, 2, 16, num_context_channels=3)
    layers = [spline, nf.flows.LULinearPermute(1)]
    base = nf.distributions.DiagGaussian(1, trainable=False)
    folder = tmp_path_factory.mktemp("flow")
    weights = folder / "run_1_3context_1flows_2hl_16hu.pth"
    torch.save(nf.ConditionalNormalizingFlow(base, layers).state_dict(), weights)
    bundle: Bundle = import_normflows(weights, lever_arm=6.0, thickness=10.0, normalisation="2025")
    return bundle.save(folder / "bundle")


@pytest.fixture(scope="session")
def timing(photon_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Timing]:
    """Maker of processors, each writing to a folder of its own."""

    def make(config: dict[str, Any] | None = None, **options: Any) -> Timing:
        values = {
            "output": tmp_path_factory.mktemp("output"),
            "bundles": [photon_bundle],
            "bundle_digests": [],
            "config": config or {},
            "device": "cpu",
            "seed": 5,
            "format": "root",
            "oversample": 1,
        }
        return Timing.from_options(values | options)

    return make


@pytest.fixture(scope="session")
def open_bars() -> Callable[[Path], Any]:
    """Lazily read events of a file."""

    def opened(path: Path) -> Any:
        return NanoEventsFactory.from_root(
            {str(path): "events"},
            schemaclass=DetectorSchema,
            metadata={"dataset": "bars", "filename": str(path), "treename": "events"},
        ).events()

    return opened


@pytest.fixture(scope="session")
def run_bars() -> Callable[..., dict[str, Any]]:
    """Run a processor over a file in coffea's own Runner; returns the result of the dataset."""

    def runner(processor: Any, path: Path, *, chunksize: int = 100_000) -> dict[str, Any]:
        coffea_runner = Runner(
            IterativeExecutor(status=False, retries=0),
            schema=processor.schema,
            chunksize=chunksize,
        )
        return coffea_runner({"bars": {"files": {str(path): "events"}}}, processor)["bars"]

    return runner

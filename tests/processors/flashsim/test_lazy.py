from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import dask
import dask_awkward as dak
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory

from flows.bundle import BundleError
from processors.errors import ConfigurationError, NotSimulationError
from processors.flashsim.conditions import GEN_JET_FIELDS, GEN_PART_FIELDS
from processors.flashsim.lazy import simulated_collections
from processors.flashsim.processor import FlowNanoAODSchema
from processors.objects.vocabulary import PILEUP_FIELDS
from tests.processors.conftest import EVENTS
from tests.processors.toynano import toy_content, write_toy

STEPS = [[0, 40], [40, 41], [41, EVENTS]]
PILEUP = {f"Pileup_{name}" for name in PILEUP_FIELDS}
NEEDED = {
    *("run", "luminosityBlock", "event", "nGenPart", "nGenJet"),
    *(f"GenPart_{name}" for name in GEN_PART_FIELDS),
    *(f"GenJet_{name}" for name in GEN_JET_FIELDS),
}


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="sync"):
        yield


def lazily(path: Path) -> Any:
    """Events in partitions of very different sizes, none of them read."""
    source = {str(path): {"object_path": "Events", "steps": STEPS}}
    return NanoEventsFactory.from_root(source, schemaclass=FlowNanoAODSchema, mode="dask").events()


@pytest.fixture
def options(bundles: dict[str, Path]) -> dict[str, Any]:
    return {"dataset": "toy", "seed": 5, "bundles": list(bundles.values()), "device": "cpu"}


def same(collection: ak.Array, name: str, written: ak.Array) -> None:
    """Every column as the processor wrote it, to the last bit."""
    columns = {key.removeprefix(f"{name}_") for key in written.fields if key.startswith(f"{name}_")}
    # coffea gives jets a charge when it reads them, they are not written with one
    assert set(collection.fields) - columns <= {"charge"}
    assert columns <= set(collection.fields)
    assert len(ak.flatten(collection)) > 0
    for column in columns:
        one, two = collection[column], written[f"{name}_{column}"]
        assert ak.num(one).tolist() == ak.num(two).tolist()
        left, right = (ak.to_numpy(ak.flatten(side)) for side in (one, two))
        assert left.dtype == right.dtype, column
        assert left.tobytes() == right.tobytes(), column


@pytest.mark.parametrize("input_name", ["nano", "nanogen"])
def test_the_lazy_way_gives_what_the_processor_writes(
    request: pytest.FixtureRequest,
    run: Callable,
    flashsim: Callable,
    options: dict[str, Any],
    input_name: str,
) -> None:
    path = request.getfixturevalue(input_name)
    (output,) = run(flashsim(), path)["outputs"]
    written = uproot.open(output)["Events"].arrays()
    made = dak.map_partitions(simulated_collections, lazily(path), **options)
    assert made.npartitions == len(STEPS)
    result = made.compute()
    for name in ("Muon", "Jet"):
        same(result[name], name, written)


def test_in_memory_it_is_the_same(
    open_events: Callable, nano: Path, options: dict[str, Any]
) -> None:
    eager = simulated_collections(open_events(nano), **options)
    lazy = dak.map_partitions(simulated_collections, lazily(nano), **options).compute()
    assert ak.array_equal(eager, lazy, equal_nan=True)


def test_seed_and_dataset_decide(
    open_events: Callable, nano: Path, options: dict[str, Any]
) -> None:
    first, *others = (
        simulated_collections(open_events(nano), **options | change).Jet.pt.tolist()
        for change in ({}, {"seed": 6}, {"dataset": "other"})
    )
    assert all(other != first for other in others)


def test_the_type_is_known_before_anything_is_read(nano: Path, options: dict[str, Any]) -> None:
    made = dak.map_partitions(simulated_collections, lazily(nano), **options)
    assert str(made._meta.type.content) == str(made.compute().type.content)


@pytest.mark.parametrize(("input_name", "pileup"), [("nano", PILEUP), ("nanogen", set())])
def test_of_the_input_only_the_conditions_are_read(
    request: pytest.FixtureRequest, options: dict[str, Any], input_name: str, pileup: set[str]
) -> None:
    events = lazily(request.getfixturevalue(input_name))
    made = dak.map_partitions(simulated_collections, events, **options)
    (columns,) = dak.necessary_columns(made.Jet.pt).values()
    assert columns == NEEDED | pileup


def test_it_becomes_a_column_that_behaves_as_jets_do(nano: Path, options: dict[str, Any]) -> None:
    events = lazily(nano)
    events["FlashJet"] = dak.map_partitions(simulated_collections, events, **options).Jet
    jets = events.FlashJet
    near = jets.delta_r(jets.nearest(events.GenJet)).compute()
    assert ak.count(near) == ak.sum(ak.num(jets.pt.compute())) > 0
    pairs = (jets[:, :1] + jets[:, :1]).pt.compute()
    # components are summed in float32: twice pt to a few of its 24 bits
    assert ak.all(abs(pairs / jets[:, :1].pt.compute() - 2) < 2e-6)


def test_one_bundle_makes_one_collection(
    open_events: Callable, nano: Path, options: dict[str, Any], bundles: dict[str, Path]
) -> None:
    one = options | {"bundles": [bundles["jet"]]}
    both = simulated_collections(open_events(nano), **options)
    alone = simulated_collections(open_events(nano), **one)
    assert alone.fields == ["Jet"]
    assert ak.array_equal(alone.Jet.pt, both.Jet.pt)
    assert dak.map_partitions(simulated_collections, lazily(nano), **one).fields == ["Jet"]


def test_what_cannot_be_simulated_is_refused_before_the_first_partition(
    nano: Path, options: dict[str, Any], bundles: dict[str, Path], tmp_path: Path
) -> None:
    events = lazily(nano)
    twice = options | {"bundles": [bundles["jet"], bundles["jet"]]}
    with pytest.raises(ConfigurationError, match="give one per object"):
        dak.map_partitions(simulated_collections, events, **twice)
    absent = options | {"bundles": [tmp_path / "absent"]}
    with pytest.raises(BundleError, match="absent"):
        dak.map_partitions(simulated_collections, events, **absent)
    data = {k: v for k, v in toy_content(EVENTS).items() if not k.startswith("Gen")}
    with pytest.raises(NotSimulationError, match="collision data"):
        dak.map_partitions(
            simulated_collections, lazily(write_toy(tmp_path / "data.root", data)), **options
        )

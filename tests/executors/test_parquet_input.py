"""Parquet files as input, for processors that read them."""

from __future__ import annotations

import shutil

import awkward as ak
import pytest
import uproot

from executors.duplicates import check_duplicates
from executors.errors import ConfigurationError
from executors.execution import execute
from executors.inputs.fileset import FileEntry, from_inputs, refuse_other_formats
from executors.inputs.opening import UnreadableFileError, inspect_file
from executors.plan import plan_fileset
from executors.settings import ExecutorSettings
from tests.executors.webserver import WebServer

COLUMNS = ("run", "luminosityBlock", "event")


@pytest.fixture
def tables(sample, tmp_path):
    """The events of the sample, as parquet files."""
    paths = []
    for path in sample:
        with uproot.open(path) as file:
            events = file["Events"].arrays([*COLUMNS, "genWeight", "GenPart_pt"])
        paths.append(tmp_path / f"{path.stem}.parquet")
        ak.to_parquet(events, paths[-1], extensionarray=False)
    return paths


def test_a_run_over_parquet_equals_the_run_over_root(tables, sample, load):
    results = []
    for name, paths in (("Tabular", [tables[0].parent]), ("Counting", sample)):
        entries = from_inputs(paths, suffix=".parquet" if name == "Tabular" else ".root")
        plan = plan_fileset(entries, chunk_size=100)
        result = execute(plan, load(name)(), ExecutorSettings("iterative"))
        assert result.error is None
        assert result.ledger.tally().events_done == 380
        results.append(result.accumulator["input"])
    (table, tree) = results
    assert table["hists"] == tree["hists"]
    assert table["counters"]["event numbers"] == tree["counters"]["event numbers"]


def test_identity_follows_content(tables, tmp_path):
    copy = shutil.copy(tables[0], tmp_path / "copy.parquet")
    facts = [inspect_file(FileEntry("mc", str(path))) for path in (*tables, copy)]
    assert [one.num_entries for one in facts] == [250, 130, 250]
    assert facts[0] == facts[2]
    assert facts[0].uuid != facts[1].uuid


def test_what_is_no_whole_parquet_file_is_told(tables, tmp_path):
    whole = tables[0].read_bytes()
    for name, content in {
        "cut": whole[:-10],
        "short": b"PAR1",
        "odd": whole[: len(whole) // 2] + b"\1\0\0\0PAR1",
    }.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError) as caught:
            inspect_file(FileEntry("mc", str(path)))
        assert "parquet" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture(params=["http", "root"])
def far(request, tables):
    """URLs of the tables behind a real server."""
    if request.param == "root":
        server = request.getfixturevalue("xrootd")
        for path in tables:
            server.add(path, path.name)
        yield [server.url(path.name) for path in tables]
        return
    with WebServer(tables[0].parent) as server:
        yield [server.url(f"{path.name}?version=1") for path in tables]


def test_parquet_behind_a_server_is_what_it_is_on_disk(tables, far, load):
    plans = [plan_fileset(from_inputs(names), chunk_size=100) for names in (tables, far)]
    assert plans[0].fileset_hash == plans[1].fileset_hash
    near, there = (execute(p, load("Tabular")(), ExecutorSettings("iterative")) for p in plans)
    assert there.error is None
    assert there.ledger.tally().events_done == 380
    assert there.accumulator["input"]["hists"] == near.accumulator["input"]["hists"]
    found = check_duplicates(plans[1], COLUMNS).duplicates["datasets"]["input"]
    assert (found["repeated"], found["unread"]) == (0, [])


def test_a_parquet_file_that_a_server_does_not_have_is_told(far):
    for name in far:
        with pytest.raises(UnreadableFileError, match=r"could not be opened \("):
            inspect_file(FileEntry("mc", name.replace("/a.", "/absent.").replace("/b.", "/gone.")))


def test_formats_are_not_mixed_up(tables, sample):
    for path, wanted in ((tables[0], "root"), (sample[0], "parquet")):
        with pytest.raises(ConfigurationError, match=f"this processor reads {wanted} files"):
            refuse_other_formats([FileEntry("mc", str(path))], wanted)
    refuse_other_formats([FileEntry("mc", "root://host//a.parquet?svc=x")], "parquet")


def test_repeated_events_are_found_in_parquet_files(tables, tmp_path):
    copy = tmp_path / "again.parquet"
    ak.to_parquet(ak.from_parquet(tables[0])[240:], copy, extensionarray=False)
    plan = plan_fileset(from_inputs([*tables, copy]), chunk_size=100)
    found = check_duplicates(plan, COLUMNS).duplicates
    assert found["datasets"]["input"]["repeated"] == 10
    assert found["datasets"]["input"]["pairs"][0]["again"] == str(copy)

"""Files of chunks streamed into one."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from executors.results import event_files
from executors.results.joining import JoinError, Part, Span, join


def content(first, events):
    rng = np.random.default_rng(first)
    counts = rng.integers(0, 4, events)
    pt = rng.exponential(20, counts.sum()).astype(np.float32)
    return {
        "event": np.arange(first, first + events, dtype=np.uint64),
        "fired": rng.integers(0, 2, events).astype(bool),
        "vector": rng.normal(0, 1, (events, 3)),
        "Jet": ak.zip({"pt": ak.unflatten(pt, counts), "n": ak.unflatten(pt.astype(int), counts)}),
        "Weight": ak.unflatten(pt, counts),
    }


def types(arrays):
    return {
        name: value.type.content
        if isinstance(value, ak.Array)
        else np.dtype((value.dtype, value.shape[1:]))
        for name, value in arrays.items()
    }


def write_root(path, first, events, *, runs=None, seed=1, drop=None):
    arrays = {name: value for name, value in content(first, events).items() if name != drop}
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", types(arrays))
        for low in range(0, events, 4):  # several baskets
            tree.extend({name: value[low : low + 4] for name, value in arrays.items()})
        if runs is not None:
            file.mktree("Runs", {"run": np.dtype("u4")}).extend({"run": np.array([runs], "u4")})
        file["flashbrew"] = json.dumps({"seed": seed, "source": {"start": first}})
    return path


def write_parquet(path, first, events, *, runs=None, seed=1, drop=None):
    event = np.arange(first, first + events)
    columns = {"event": event, "pt": [[float(n)] * (n % 3) for n in event]}
    columns.pop(drop, None)
    with pq.ParquetWriter(path, pa.table(columns).schema) as file:
        for low in range(0, max(events, 1), 4):
            file.write_table(pa.table(columns).slice(low, 4))
        metadata = {"flashbrew": json.dumps({"seed": seed, "source": {"start": first}})}
        if runs is not None:
            metadata["Runs"] = json.dumps([{"run": runs}])
        file.add_key_value_metadata(metadata)
    return path


def read(path):
    """Events as lists, rows of Runs, provenance."""
    if path.suffix == ".root":
        with uproot.open(path) as file:
            events = ak.to_list(file["Events"].arrays())
            runs = file["Runs"]["run"].array().tolist() if "Runs" in file else []
            return events, runs, json.loads(file["flashbrew"])
    table = pq.read_table(path)
    metadata = {k.decode(): v for k, v in pq.read_metadata(path).metadata.items()}
    runs = [row["run"] for row in json.loads(metadata.get("Runs", b"[]"))]
    return table.to_pylist(), runs, json.loads(metadata["flashbrew"])


@pytest.fixture(params=["root", "parquet"])
def write(request, tmp_path):
    writer = {"root": write_root, "parquet": write_parquet}[request.param]
    return lambda name, *rest, **more: writer(tmp_path / f"{name}.{request.param}", *rest, **more)


@pytest.fixture
def parts(write):
    """Three chunks of one file, an empty one, the first chunk of another file."""
    return [
        Part(write("a", 0, 7, runs=1)),
        Part(write("b", 7, 5)),
        Part(write("empty", 12, 0)),
        Part(write("c", 12, 9)),
        Part(write("d", 21, 2, runs=2)),
    ]


def expected(parts):
    read_parts = [read(part.path) for part in parts]
    return [row for one in read_parts for row in one[0]], [1, 2]


@pytest.mark.parametrize("portion", [1, 200, event_files.PORTION])
def test_events_follow_each_other_and_runs_appear_once(parts, tmp_path, monkeypatch, portion):
    monkeypatch.setattr(event_files, "PORTION", portion)
    target = tmp_path / f"joined{parts[0].path.suffix}"
    spans = join(target, parts, {"sources": ["all"]})
    events, runs, provenance = read(target)
    assert (events, runs) == expected(parts)
    assert provenance == {"seed": 1, "sources": ["all"]}
    assert [span.events for span in spans] == [(0, 7), (7, 12), (12, 12), (12, 21), (21, 23)]
    assert [dict(span.rows) for span in spans] == [{"Runs": (0, 1)}, {}, {}, {}, {"Runs": (1, 2)}]
    assert sorted(tmp_path.glob(".*")) == []


def test_small_files_share_baskets(tmp_path):
    parts = [Part(write_root(tmp_path / f"{n}.root", 10 * n, 10)) for n in range(20)]
    join(tmp_path / "joined.root", parts, {})
    with uproot.open(tmp_path / "joined.root") as file:
        assert file["Events"]["Jet_pt"].num_baskets == 1
        names = [branch.name for branch in file["Events"].branches]
    with uproot.open(parts[0].path) as file:
        assert names == [branch.name for branch in file["Events"].branches]


def test_parts_of_a_joined_file_are_joined_again(parts, write, tmp_path):
    target = tmp_path / f"joined{parts[0].path.suffix}"
    spans = join(target, parts, {})
    pieces = [Part(target, span.events, span.rows) for span in spans]
    pieces[1] = parts[1]
    again = tmp_path / f"again{target.suffix}"
    assert join(again, pieces, {}) == spans
    assert read(again) == read(target)
    assert join(again, pieces[3:], {}) == [Span((0, 9), {}), Span((9, 11), {"Runs": (0, 1)})]
    assert read(again)[1] == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 2}, "was made with another seed"), ({"drop": "event"}, "event")],
)
def test_files_that_do_not_belong_together(parts, write, tmp_path, change, message):
    target = tmp_path / f"joined{parts[0].path.suffix}"
    target.write_bytes(b"before")
    with pytest.raises(JoinError, match=message):
        join(target, [*parts, Part(write("odd", 30, 3, **change))], {})
    assert target.read_bytes() == b"before"
    assert sorted(tmp_path.glob(".*")) == []

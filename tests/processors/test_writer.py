from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from processors.content import Content
from processors.jagged import Flat
from processors.writer import event_writer


def content(n: int) -> Content:
    counts = np.arange(n) % 3
    values = np.arange(counts.sum(), dtype=np.float32)
    return {
        "event": np.arange(n, dtype=np.uint64),
        "Jet": Flat(counts, {"pt": values, "isGood": values > 1}),
        "PSWeight": Flat(counts, {"": values}),
    }


def test_blocks_become_one_tree(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.root"
    with event_writer(path, "root", {"seed": 3}) as writer:
        writer.extend(content(4))
        writer.extend(content(5))
        writer.add_tree("Runs", {"run": np.array([1], np.uint32)})
        assert not path.exists()
    file = uproot.open(path)
    arrays = file["Events"].arrays()
    assert arrays.nJet.tolist() == [0, 1, 2, 0, 0, 1, 2, 0, 1]
    assert arrays.Jet_pt[2].tolist() == arrays.PSWeight[2].tolist() == [1.0, 2.0]
    assert file["Events"].typenames()["Jet_isGood"] == "bool[]"
    assert file.file.compression.name == "ZSTD"
    assert json.loads(str(file["flashbrew"])) == {"seed": 3}


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"

    def interrupted() -> None:
        with event_writer(path, kind, {}) as writer:
            writer.extend(content(4))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_whole_until_the_new_one_is(tmp_path: Path) -> None:
    path = tmp_path / "out.root"
    for number in (3, 6):
        with event_writer(path, "root", {}) as writer:
            writer.extend(content(number))
            if number == 6:
                assert uproot.open(path)["Events"].num_entries == 3
    assert uproot.open(path)["Events"].num_entries == 6
    assert [p.name for p in tmp_path.iterdir()] == ["out.root"]


def test_parquet_keeps_provenance_and_trees(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with event_writer(path, "parquet", {"seed": 3}) as writer:
        writer.extend(content(4))
        writer.add_tree("Runs", {"run": np.array([1], np.uint32)})
    metadata = pq.read_metadata(path).metadata
    assert json.loads(metadata[b"flashbrew"]) == {"seed": 3}
    assert json.loads(metadata[b"Runs"]) == [{"run": 1}]
    assert pq.read_table(path).column("Jet_pt").to_pylist()[2] == [1.0, 2.0]

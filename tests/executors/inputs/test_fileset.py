"""Files that inputs and filesets stand for."""

from __future__ import annotations

import gzip
import json

import awkward as ak
import pytest

from executors.errors import ConfigurationError
from executors.inputs.fileset import DEFAULT_DATASET, from_inputs
from executors.inputs.fileset_json import parse_fileset, read_fileset
from executors.inputs.opening import inspect_file


def test_directories_globs_files_and_urls_expand_in_order(tmp_path):
    for name in ("x/b.root", "x/a.root", "x/deep/c.root", "y.root", "x/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    url = "root://host.example//store/d.root"
    entries = from_inputs([url, tmp_path / "x", f"{tmp_path}/y*.root", tmp_path / "absent.root"])
    names = [entry.file.replace(str(tmp_path), "") for entry in entries]
    assert names == [url, "/x/a.root", "/x/b.root", "/x/deep/c.root", "/y.root", "/absent.root"]
    assert {entry.dataset for entry in entries} == {DEFAULT_DATASET}


def test_a_file_whose_name_looks_like_a_pattern_is_found(tmp_path):
    odd = tmp_path / "mc[1].root"
    odd.touch()
    assert [entry.file for entry in from_inputs([odd])] == [str(odd)]


def test_local_names_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_inputs(["a.root"])[0].file == str(tmp_path / "a.root")
    assert parse_fileset({"mc": ["a.root"]})[0].file == str(tmp_path / "a.root")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "no input file"),
        (["{tmp}/*.root"], "no file matches"),
        (["{tmp}"], "holds no *.root file"),
        (["{tmp}/a.root", "{tmp}/a.root"], "named twice"),
    ],
)
def test_inputs_that_stand_for_nothing_are_refused(tmp_path, inputs, message):
    with pytest.raises(ConfigurationError) as caught:
        from_inputs([item.format(tmp=tmp_path) for item in inputs])
    assert message in str(caught.value)


def test_all_layouts_of_coffea_say_the_same():
    layouts = (
        {"mc": ["/a.root"]},
        {"mc": {"files": ["/a.root"]}},
        {"mc": {"treename": "Events", "files": ["/a.root"]}},
        {"mc": {"files": {"/a.root": "Events"}}},
        {"mc": {"files": {"/a.root": {"object_path": "Events"}}}},
    )
    first, *others = (parse_fileset(layout) for layout in layouts)
    assert all(other == first for other in others)


def test_a_preprocessed_file_keeps_what_is_known_of_it():
    uuid = "1825cd4a-2943-11f1-9dd5-001a4abb4031"
    described = {
        "object_path": "T",
        "steps": [[100, 200], [0, 50]],
        "num_entries": 300,
        "uuid": uuid,
    }
    content = {"files": {"/a.root": described}, "metadata": {"xsec": 831.8}, "preload": ["nJet"]}
    (entry,) = parse_fileset({"mc": content})
    assert entry.steps == ((0, 50), (100, 200))
    assert (entry.tree, entry.num_entries, str(entry.uuid)) == ("T", 300, uuid)
    assert entry.metadata == {"xsec": 831.8}
    assert entry.preload == {"nJet"}


@pytest.mark.parametrize("name", ["fileset.json", "fileset.json.gz"])
def test_a_fileset_that_coffea_preprocessed_is_read(tmp_path, sample, name):
    from coffea.dataset_tools import DataGroupSpec, preprocess

    parquet = tmp_path / "c.parquet"
    ak.to_parquet(ak.Array({"event": [1, 2, 3]}), parquet)
    asked = DataGroupSpec(
        {
            "mc": {"files": {str(sample[0]): "Events"}, "metadata": {"xsec": 831.8}},
            "columns": {"files": {str(parquet): None}, "format": "parquet"},
        }
    )
    made, _ = preprocess(asked, step_size=50, save_form=True, scheduler="sync")
    (tmp_path / name).write_bytes(packed(name, made.model_dump_json()))
    root, columns = read_fileset(tmp_path / name)
    assert (root.file, root.num_entries, root.metadata) == (str(sample[0]), 250, {"xsec": 831.8})
    assert root.steps == ((0, 50), (50, 100), (100, 150), (150, 200), (200, 250))
    for entry in (root, columns):
        facts = inspect_file(entry)
        assert (facts.num_entries, entry.uuid) in ((250, facts.uuid), (3, None))


def packed(name, text):
    return gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"mc": {"flies": ["/a.root"]}}, "unknown key 'flies'; did you mean 'files'?"),
        ({"mc": {"files": ["/a"], "metdata": {}}}, "did you mean 'metadata'?"),
        ({"mc": {"files": {"/a": {"object_pth": "T"}}}}, "did you mean 'object_path'?"),
        ({"mc": {"files": ["/a"], "colour": 1}}, "known keys: files"),
        ({"mc": {"files": []}}, "a list that is empty"),
        ({"mc": 3}, "found a number"),
        ({"mc": [3]}, "found a number in it"),
        ([], "expected an object {dataset: files}"),
        ({"a/b": ["/a"]}, "folder of the output"),
        ({"..": ["/a"]}, "folder of the output"),
        ({"mc": ["/a", "/a"]}, "named twice"),
        ({"mc": {"files": ["/a"], "metadata": {"filename": 1}}}, "taken by coffea"),
        ({"mc": {"files": {"/a": {"steps": [[0, 10], [5, 20]]}}}}, "overlaps"),
        ({"mc": {"files": {"/a": {"steps": [[10, 0]]}}}}, "0 <= start <= stop"),
        ({"mc": {"files": {"/a": {"steps": [[0, 1.5]]}}}}, "two integers"),
        ({"mc": {"files": {"/a": {"uuid": "12"}}}}, "32 hexadecimal digits"),
        ({"mc": {"files": {"/a": {"num_entries": -1}}}}, "number of events"),
        ({"mc": {"files": {"/a": 7}}}, "name of a tree or an object"),
    ],
)
def test_a_wrong_fileset_is_refused_with_the_place(content, message):
    with pytest.raises(ConfigurationError) as caught:
        parse_fileset(content, source="list.json")
    assert message in str(caught.value)
    assert str(caught.value).startswith("list.json")


def test_reading_a_fileset_says_what_is_wrong_with_the_file(tmp_path):
    path = tmp_path / "fileset.json"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_fileset(path)
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="is not JSON"):
        read_fileset(path)
    path.write_text('{"mc": ["/a"], "mc": ["/b"]}')
    with pytest.raises(ConfigurationError, match="appears twice"):
        read_fileset(path)
    path.write_text(json.dumps({"mc": ["/a"]}))
    assert [entry.file for entry in read_fileset(path)] == ["/a"]
    path.write_text(json.dumps({"mc": ["/a"]}), encoding="utf-8-sig")
    assert [entry.file for entry in read_fileset(path)] == ["/a"]
    path.write_bytes(gzip.compress(path.read_bytes())[:-12])
    with pytest.raises(ConfigurationError, match="is a damaged gzip file"):
        read_fileset(path)

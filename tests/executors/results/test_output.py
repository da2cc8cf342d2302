"""Output directories."""

from __future__ import annotations

import os

import pytest

from executors.errors import ConfigurationError
from executors.results.output import (
    output_problems,
    prepare_output,
    probe_writable,
    refuse_shared_folders,
    relative_output,
    sweep,
)

UUID = "1825cd4a-2943-11f1-9dd5-001a4abb4031"


def test_a_new_directory_is_made_and_left_empty(tmp_path):
    path = prepare_output(tmp_path / "a" / "b")
    assert path.is_dir()
    assert list(path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below" / "it"):
        with pytest.raises(ConfigurationError) as caught:
            prepare_output(place)
        assert f"{file} is a file, not a directory" in str(caught.value)


@pytest.mark.parametrize("place", ["/proc/flashbrew", "/sys/flashbrew", "root://host//store/x"])
def test_places_that_take_no_directory_are_refused(place):
    with pytest.raises(ConfigurationError, match="--output"):
        prepare_output(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where permissions forbid it")
def test_a_directory_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        prepare_output(tmp_path)


def test_a_full_or_read_only_disk_is_one_sentence(tmp_path, monkeypatch):
    def refuse(path, content):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(ConfigurationError, match=r"cannot be written \(Read-only file system\)"):
        prepare_output(tmp_path)
    assert "Read-only" in probe_writable(tmp_path)


def test_an_input_below_the_output_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="lies in the output directory"):
        prepare_output(tmp_path, [str(tmp_path / "events" / "x.root")])
    assert prepare_output(tmp_path / "out", [str(tmp_path / "x.root"), "root://h//x"])


def test_only_chunk_files_are_swept(tmp_path):
    folder = tmp_path / "events" / "mc"
    folder.mkdir(parents=True)
    chunks = [f"{UUID}_0-100.root", f"{UUID}_100-200.parquet", f".{UUID}_0-100.root.tmp4"]
    others = ["mc.root", "notes.txt", f"{UUID}.root"]
    for name in chunks + others:
        (folder / name).touch()
    assert sweep(tmp_path, keep={f"events/mc/{chunks[0]}"}) == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted([chunks[0], *others])


def test_tables_of_an_earlier_run_are_swept(tmp_path):
    folder = tmp_path / "tables" / "mc"
    folder.mkdir(parents=True)
    tables = [f"jet_{UUID}_0-100.npz", f"jet_{UUID}_100-200.npz", f".jet_{UUID}_0-9.npz.ab1"]
    for name in [*tables, "mine.npz"]:
        (folder / name).touch()
    assert sweep(tmp_path, keep={f"tables/mc/{tables[0]}"}) == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted([tables[0], "mine.npz"])


def test_datasets_that_share_a_folder_are_refused():
    with pytest.raises(ConfigurationError, match="'a=b' and 'a_b' would both be written to"):
        refuse_shared_folders(["x", "a=b", "a_b"], lambda name: name.replace("=", "_"))
    refuse_shared_folders(["x", "a=b", "a_b"], str)


def test_outputs_must_exist_and_be_unique(tmp_path):
    (tmp_path / "a").touch()
    assert output_problems(["a", "root://host//b"], tmp_path) == []
    (twice,) = output_problems(["a", str(tmp_path / "a")], tmp_path)
    assert "written by more than one chunk" in twice
    (gone,) = output_problems(["a", "b"], tmp_path)
    assert "listed but not there (the first: b)" in gone


def test_outputs_are_relative_where_they_can_be(tmp_path):
    assert relative_output(tmp_path / "events" / "a", tmp_path) == "events/a"
    assert relative_output("events/a", tmp_path) == "events/a"
    assert relative_output("/elsewhere/a", tmp_path) == "/elsewhere/a"

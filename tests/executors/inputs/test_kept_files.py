"""Files that stay open from chunk to chunk."""

from __future__ import annotations

import shutil
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coffea.nanoevents import BaseSchema

from executors.failures import kind_of
from executors.inputs.fileset import FileEntry
from executors.inputs.kept_files import ReplacedFileError, close_kept_files, kept_file
from executors.inputs.opening import inspect_file
from executors.work import ChunkWork

RUN = "a run"


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_kept_files(RUN, everywhere=True)


def identity(path):
    return inspect_file(FileEntry("mc", str(path))).uuid


def kept(path, run=RUN, planned=None):
    kind = str(path).rpartition(".")[2]
    return kept_file(run, str(path), kind, planned or identity(path))


def test_a_file_is_opened_once_until_another_one_is_needed(sample):
    first, second = map(str, sample)
    file = kept(first)
    assert kept(first) is file
    tree = file["Events"]
    assert kept(first)["Events"] is tree
    kept(second)
    assert file.closed
    assert kept(first) is not file


def test_threads_have_files_of_their_own_runs_take_turns(sample):
    found = [kept(sample[0]), kept(sample[0], "other")]
    assert [file.closed for file in found] == [True, False]
    thread = threading.Thread(target=lambda: found.append(kept(sample[0])))
    thread.start()
    thread.join()
    assert len(set(map(id, found))) == 3
    close_kept_files(RUN, everywhere=True)
    assert [file.closed for file in found] == [True, False, True]
    close_kept_files("other")
    assert found[1].closed


def test_a_file_that_was_copied_again_is_opened_anew(sample, tmp_path):
    path = tmp_path / "a.root"
    shutil.copy(sample[0], path)
    first = kept(path)
    shutil.copy(sample[0], tmp_path / "again.root")
    (tmp_path / "again.root").replace(path)
    assert kept(path) is not first
    assert first.closed


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_a_file_that_was_replaced_by_another_is_refused(kind, write_events, tmp_path):
    def write(entries):
        new = tmp_path / f"new.{kind}"
        if kind == "root":
            write_events(new, entries)
        else:
            pq.write_table(pa.table({"x": range(entries)}), new)
        return new.replace(tmp_path / f"a.{kind}")

    path = write(250)
    planned = identity(path)
    kept(path, planned=planned)
    write(40)
    with pytest.raises(ReplacedFileError, match="was replaced after the run was planned") as caught:
        kept(path, planned=planned)
    assert str(path) in str(caught.value)
    assert kind_of(caught.value) == "permanent"
    assert identity(path) != planned
    kept(path)


def test_a_file_that_is_gone_is_not_read_from_memory(sample, tmp_path):
    path = tmp_path / "a.root"
    shutil.copy(sample[0], path)
    planned = identity(path)
    kept(path, planned=planned)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        kept(path, planned=planned)


def test_a_chunk_that_fails_closes_its_file(sample):
    from executors.inputs.fileset import from_inputs
    from executors.plan import plan_fileset

    handles = []

    def process(events):
        handles.append(events.attrs["@events_factory"].file_handle)
        if len(handles) == 2:
            raise OSError
        return len(events)

    work = ChunkWork(process, BaseSchema)
    items = plan_fileset(from_inputs(sample[:1]), chunk_size=100).items
    work(items[0])
    with pytest.raises(OSError):
        work(items[1])
    assert handles[1] is handles[0]
    assert handles[0].closed
    assert work(items[2]) == 50
    work.end()
    assert handles[2].closed

"""Files that stay open from chunk to chunk."""

from __future__ import annotations

import shutil
import threading

import pytest
from coffea.nanoevents import BaseSchema

from executors.inputs.kept_files import close_kept_files, kept_file
from executors.work import ChunkWork

RUN = "a run"


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_kept_files(RUN, everywhere=True)


def test_a_file_is_opened_once_until_another_one_is_needed(sample):
    first, second = map(str, sample)
    file = kept_file(RUN, first, "root")
    assert kept_file(RUN, first, "root") is file
    tree = file["Events"]
    assert kept_file(RUN, first, "root")["Events"] is tree
    kept_file(RUN, second, "root")
    assert file.closed
    assert kept_file(RUN, first, "root") is not file


def test_threads_have_files_of_their_own_runs_take_turns(sample):
    found = [kept_file(RUN, str(sample[0]), "root"), kept_file("other", str(sample[0]), "root")]
    assert [file.closed for file in found] == [True, False]
    thread = threading.Thread(target=lambda: found.append(kept_file(RUN, str(sample[0]), "root")))
    thread.start()
    thread.join()
    assert len(set(map(id, found))) == 3
    close_kept_files(RUN, everywhere=True)
    assert [file.closed for file in found] == [True, False, True]
    close_kept_files("other")
    assert found[1].closed


def test_a_file_that_was_replaced_is_opened_anew(write_events, sample, tmp_path):
    path = tmp_path / "a.root"
    shutil.copy(sample[0], path)
    assert kept_file(RUN, str(path), "root")["Events"].num_entries == 250
    write_events(tmp_path / "other.root", 40).replace(path)
    assert kept_file(RUN, str(path), "root")["Events"].num_entries == 40


def test_a_file_that_is_gone_is_not_read_from_memory(sample, tmp_path):
    path = tmp_path / "a.root"
    shutil.copy(sample[0], path)
    kept_file(RUN, str(path), "root")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        kept_file(RUN, str(path), "root")


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

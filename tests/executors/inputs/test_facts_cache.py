"""What is remembered of input files, and when it no longer holds."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from executors.inputs.facts_cache import SETTLED, VARIABLE, FactsCache, cache_folder, stamp
from executors.inputs.fileset import FileEntry, from_inputs
from executors.inputs.opening import UnreadableFileError, inspect_file
from executors.plan import plan_fileset


@pytest.fixture
def old(sample, tmp_path, monkeypatch):
    """A file that changed long ago: the clock is moved, the time of its status cannot be."""
    path = shutil.copy(sample[0], tmp_path / "a.root")
    later = time.time() + 10 * SETTLED
    monkeypatch.setattr("executors.inputs.facts_cache.time", lambda: later)
    return path


class Counted:
    """A look into files that counts."""

    def __init__(self):
        self.looks = 0

    def __call__(self, entry):
        self.looks += 1
        return inspect_file(entry)


def looks(folder, path, tree="Events"):
    """Number of files opened by a run of its own, and the entries it found."""
    inspect = Counted()
    cache = FactsCache(folder, inspect)
    facts = cache(FileEntry("mc", str(path), tree))
    cache.save()
    assert cache.known == 1 - inspect.looks
    return inspect.looks, facts


def test_a_file_is_opened_once(old, tmp_path):
    folder = tmp_path / "cache" / "deep"
    first, again = looks(folder, old), looks(folder, old)
    assert (first[0], again[0]) == (1, 0)
    assert first[1] == again[1] == inspect_file(FileEntry("mc", str(old)))
    assert (folder.stat().st_mode & 0o777) == 0o700


def test_another_content_under_the_same_name_is_noticed(old, sample, tmp_path):
    assert looks(tmp_path, old)[1].num_entries == 250
    shutil.copy(sample[1], old)
    assert looks(tmp_path, old)[1].num_entries == 130
    # written again, size and time of change as before: as a careful copy would leave them
    status = old.stat()
    old.write_bytes(old.read_bytes())
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert old.stat().st_mtime_ns == status.st_mtime_ns
    assert looks(tmp_path, old)[0] == 1


def test_another_tree_of_the_same_file_is_another_look(old, tmp_path):
    looks(tmp_path, old)
    with pytest.raises(UnreadableFileError, match="no tree 'Runs'"):
        looks(tmp_path, old, "Runs")


def test_a_file_that_changed_just_now_is_not_remembered(sample, tmp_path):
    path = shutil.copy(sample[0], tmp_path / "young.root")
    assert stamp(FileEntry("mc", str(path))) is None
    assert [looks(tmp_path, path)[0] for _ in range(2)] == [1, 1]
    assert not (tmp_path / "files.json").exists()


def test_what_cannot_be_read_is_not_remembered(old, tmp_path):
    old.write_bytes(old.read_bytes()[:-10])
    cache = FactsCache(tmp_path)
    for path in (old, tmp_path / "absent.root"):
        with pytest.raises(UnreadableFileError):
            cache(FileEntry("mc", str(path)))
    cache.save()
    assert not cache.path.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 0, "files": {}}', '{"version": 1}'])
def test_a_damaged_cache_costs_a_look(old, tmp_path, text):
    (tmp_path / "files.json").write_text(text)
    assert [looks(tmp_path, old)[0] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("row", [None, 3, [], ["x"], ["{mark}", "many", "0", 1]])
def test_a_damaged_row_costs_a_look(old, tmp_path, row):
    entry = FileEntry("mc", str(old))
    filled = (
        [stamp(entry) if cell == "{mark}" else cell for cell in row]
        if isinstance(row, list)
        else row
    )
    content = {"version": 1, "files": {f"{old}\nEvents": filled}}
    (tmp_path / "files.json").write_text(json.dumps(content))
    assert looks(tmp_path, old)[0] == 1


def test_a_cache_that_cannot_be_written_is_done_without(old, tmp_path):
    (tmp_path / "file").touch()
    assert [looks(tmp_path / "file", old)[0] for _ in range(2)] == [1, 1]


def test_two_runs_keep_what_both_found(old, tmp_path, sample):
    other = shutil.copy(sample[1], tmp_path / "b.root")
    one, two = FactsCache(tmp_path), FactsCache(tmp_path)
    one(FileEntry("mc", str(old)))
    two(FileEntry("mc", str(other)))
    one.save()
    two.save()
    assert (looks(tmp_path, old)[0], looks(tmp_path, other)[0]) == (0, 0)


def test_the_longest_unused_are_forgotten(old, tmp_path, monkeypatch):
    monkeypatch.setattr("executors.inputs.facts_cache.KEPT", 2)
    for name in ("b", "c", "d"):
        shutil.copy(old, tmp_path / f"{name}.root")
        looks(tmp_path, tmp_path / f"{name}.root")
    assert [looks(tmp_path, tmp_path / f"{n}.root")[0] for n in ("d", "c", "b")] == [0, 0, 1]


def test_a_plan_from_memory_is_the_same_plan(sample, tmp_path, monkeypatch):
    later = time.time() + 10 * SETTLED
    monkeypatch.setattr("executors.inputs.facts_cache.time", lambda: later)
    entries = from_inputs([*sample, "/absent.root"])
    told, plans = [], []
    for known in (0, 2):
        cache = FactsCache(tmp_path)
        plans.append(
            plan_fileset(
                entries, chunk_size=60, inspect=cache, looked=lambda *pair: told.append(pair)
            )
        )
        cache.save()
        assert cache.known == known
    assert plans[0] == plans[1] == plan_fileset(entries, chunk_size=60)
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert str(cache_folder()) == "/scratch/flashbrew"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(cache_folder()) == "/home/ada/.cache/flashbrew"

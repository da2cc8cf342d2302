"""Chunks of a plan, and files that do not make it into one."""

from __future__ import annotations

import itertools
import shutil
from uuid import UUID

import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import ConfigurationError
from executors.inputs.fileset import FileEntry, from_inputs
from executors.inputs.opening import FileFacts, UnreadableFileError, _head_entries
from executors.plan import Limits, automatic_chunk_size, plan_fileset, split

sizes = st.integers(1, 500)


def facts_of(entries):
    """A look into files that are not there: file ``n`` has the n-th number of entries."""

    def inspect(entry):
        number = int(entry.file)
        return FileFacts(entries[number], UUID(int=number + 1), False)

    return inspect


@given(st.integers(0, 3_000), st.integers(0, 3_000), sizes)
def test_split_is_exact(low, length, size):
    parts = list(split(low, low + length, size))
    assert parts[0][0] == low
    assert parts[-1][1] == low + length
    assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))
    assert all(stop - start == size for start, stop in parts[:-1])
    assert len(parts) == max(1, -(-length // size))


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=6), sizes)
def test_every_entry_is_planned_once_in_order(entries, size):
    files = [FileEntry("mc", str(number)) for number in range(len(entries))]
    plan = plan_fileset(files, chunk_size=size, inspect=facts_of(entries))
    assert plan.events == sum(entries)
    covered = [(i.filename, n) for i in plan.items for n in range(i.entrystart, i.entrystop)]
    assert covered == [(str(f), n) for f, count in enumerate(entries) for n in range(count)]
    assert all(len(item) <= size for item in plan.items)
    empty = [item for item in plan.items if len(item) == 0]
    assert len(empty) == entries.count(0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=5), sizes)
def test_steps_are_honoured(gaps, size):
    steps, stop = [], 0
    for gap, length in gaps:
        steps.append((stop + gap, stop + gap + length))
        stop = steps[-1][1]
    entry = FileEntry("mc", "0", steps=tuple(steps))
    plan = plan_fileset([entry], chunk_size=size, inspect=facts_of([stop]))
    covered = [n for item in plan.items for n in range(item.entrystart, item.entrystop)]
    assert covered == [n for start, end in steps for n in range(start, end)]


@pytest.mark.parametrize(
    ("steps", "limits", "chunks", "words"),
    [
        (None, None, 2, None),
        (((0, 60), (60, 100)), None, 2, None),
        (((10, 100),), None, 2, "90 of 100 entries of 0"),
        (None, Limits(max_chunks=1), 1, "50 of 100 entries of 0"),
        (((0, 0), (0, 100)), None, 2, "steps without an entry are left out: [[0, 0]]"),
        ((), None, 0, "0: its steps hold no entry, nothing of it is read"),
    ],
)
def test_what_is_read_in_part_is_told(steps, limits, chunks, words):
    entry = FileEntry("mc", "0", steps=steps)
    plan = plan_fileset([entry], chunk_size=60 if steps else 50, limits=limits or Limits(),
                        inspect=facts_of([100]))  # fmt: skip
    assert len(plan.items) == chunks
    assert [item.entrystart for item in plan.items].count(0) <= 1
    assert plan.partial == ({"mc"} if plan.events < 100 else set())
    assert any(words in note for note in plan.notes) if words else not plan.notes


def test_an_empty_file_keeps_its_one_empty_chunk():
    for steps in (None, (), ((0, 0),)):
        plan = plan_fileset([FileEntry("mc", "0", steps=steps)], inspect=facts_of([0]))
        assert [(item.entrystart, item.entrystop) for item in plan.items] == [(0, 0)]
        assert not plan.partial


def test_limits_count_per_dataset():
    files = [FileEntry(name, str(n)) for n, name in enumerate(["a", "a", "b", "b"])]
    look = facts_of([250] * 4)
    first = plan_fileset(files, chunk_size=100, limits=Limits(max_files=1), inspect=look)
    assert [item.filename for item in first.items] == ["0"] * 3 + ["2"] * 3
    assert first.files == {"a": 1, "b": 1}
    chunks = plan_fileset(files, chunk_size=100, limits=Limits(max_chunks=4), inspect=look)
    assert [item.dataset for item in chunks.items] == ["a"] * 4 + ["b"] * 4
    test = plan_fileset([FileEntry("a", "0")], test=True, inspect=facts_of([10**6]))
    assert [(i.entrystart, i.entrystop) for i in test.items] == [(0, 1000), (1000, 2000)]


@pytest.mark.parametrize("limits", [{"max_files": 0}, {"max_chunks": -1}])
def test_limits_below_one_are_refused(limits):
    with pytest.raises(ConfigurationError, match="at least 1"):
        Limits(**limits)


def test_chunk_size_below_one_and_empty_filesets_are_refused():
    with pytest.raises(ConfigurationError, match="--chunksize"):
        plan_fileset([FileEntry("mc", "0")], chunk_size=0, inspect=facts_of([1]))
    with pytest.raises(ConfigurationError, match="names no file"):
        plan_fileset([])


@given(st.integers(0, 10**10))
def test_the_automatic_chunk_size_depends_on_events_alone(events):
    size = automatic_chunk_size(events)
    assert 500 <= size <= 100_000
    assert size in (500, 100_000) or -(-events // size) == 32 or events <= 32 * size


def test_the_fileset_hash_follows_content_not_paths():
    def planned(names, entries, **options):
        files = [FileEntry("mc", name, **options) for name in names]
        look = dict(zip(names, entries, strict=True))

        def inspect(entry):
            return FileFacts(look[entry.file], UUID(int=names.index(entry.file) + 1), False)

        return plan_fileset(files, inspect=inspect).fileset_hash

    reference = planned(["a", "b"], [10, 20])
    assert planned(["c", "d"], [10, 20]) == reference
    assert planned(["a", "b"], [10, 21]) != reference
    assert planned(["a", "b"], [10, 20], steps=((0, 5),)) != reference


@pytest.mark.parametrize(
    ("promise", "message"),
    [
        ({"num_entries": 9}, "the fileset says 9"),
        ({"uuid": UUID(int=7)}, "the fileset says 00000000"),
        ({"steps": ((0, 11),)}, "a step of the fileset ends at 11"),
    ],
)
def test_a_file_that_breaks_the_filesets_promise_is_unknown(promise, message):
    plan = plan_fileset([FileEntry("mc", "0", **promise)], inspect=facts_of([10]))
    assert not plan.items
    assert message in plan.unknown[0].reason


def test_an_unreadable_file_is_named_and_the_others_are_planned(sample, tmp_path):
    junk = tmp_path / "junk.root"
    junk.write_bytes(b"\x07" * 5000)
    cut = tmp_path / "cut.root"
    cut.write_bytes(sample[0].read_bytes()[:-400])
    (tmp_path / "empty.root").touch()
    names = [junk, sample[0], cut, tmp_path / "absent.root", sample[1], tmp_path / "empty.root"]
    plan = plan_fileset(from_inputs(names), chunk_size=100)
    assert plan.events == 380
    told = {file.file: file.reason for file in plan.unknown}
    for path, words in {
        junk: "is not a ROOT file",
        cut: "is cut short",
        tmp_path / "absent.root": "does not exist",
        tmp_path / "empty.root": "is empty",
    }.items():
        assert told.pop(str(path)).startswith(f"{path} {words}")
    assert not told


def test_any_truncation_is_noticed(sample, tmp_path):
    whole = sample[0].read_bytes()
    for length in (1, 3, 40, 100, 300, 1000, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / f"{length}.root"
        cut.write_bytes(whole[:length])
        plan = plan_fileset(from_inputs([cut]))
        assert not plan.items, length
        assert "\n" not in plan.unknown[0].reason


def test_another_tree_is_answered_with_the_trees_there(sample):
    entry = FileEntry("mc", str(sample[0]), tree="Eventz")
    (unknown,) = plan_fileset([entry]).unknown
    assert "no tree 'Eventz'; trees there: Events" in unknown.reason


def test_a_copy_in_the_same_dataset_is_not_processed_twice(sample, tmp_path):
    copy = tmp_path / "copy.root"
    shutil.copy(sample[0], copy)
    plan = plan_fileset(from_inputs([sample[0], copy]))
    assert plan.events == 250
    assert f"{copy} has the same UUID as {sample[0]}" in plan.unknown[0].reason
    apart = [FileEntry("one", str(sample[0])), FileEntry("two", str(copy))]
    assert plan_fileset(apart).events == 500


def test_metadata_and_preload_travel_with_the_chunks(sample):
    entry = FileEntry("mc", str(sample[0]), metadata={"xsec": 1.5}, preload=frozenset({"event"}))
    (item,) = plan_fileset([entry]).items
    assert item.usermeta == {"xsec": 1.5}
    assert item.preload == {"event"}


def test_an_unexpected_error_while_looking_is_not_swallowed():
    def broken(entry):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plan_fileset([FileEntry("mc", "0")], inspect=broken)
    with pytest.raises(UnreadableFileError):
        raise UnreadableFileError


def test_entries_are_told_by_the_first_bytes_of_a_tree(sample, repository):
    """The short way gives what uproot gives, for the trees of uproot and of ROOT itself."""
    paths = [*sample, repository / "samples" / "data" / "ttbar.root"]
    looked = 0
    for path in paths:
        with uproot.open(path) as file:
            for name, kind in file.classnames(cycle=False).items():
                if kind == "TTree":
                    assert _head_entries(file, name) == file[name].num_entries
                    looked += 1
    assert looked == 5


def test_real_trees_are_told_by_their_first_bytes(real_data):
    looked = 0
    for path in [*real_data.glob("nano/*.root"), *real_data.glob("skims/*/*_0.root")]:
        with uproot.open(path) as file:
            name = min(n for n, kind in file.classnames(cycle=False).items() if kind == "TTree")
            assert _head_entries(file, name) == file[name].num_entries
            looked += 1
    assert looked >= 9


def test_real_files_of_all_kinds(real_data):
    edge = real_data / "edge"
    names = ["nano_dy_empty", "nano_dy_rntuple", "nano_tt_truncated", "not_a_root_file"]
    plan = plan_fileset(from_inputs([edge / f"{name}.root" for name in names]))
    assert [len(item) for item in plan.items] == [0, 40]
    assert "RNTuple" in plan.notes[0]
    assert [file.file.split("/")[-1] for file in plan.unknown] == [
        "nano_tt_truncated.root",
        "not_a_root_file.root",
    ]
    assert "400,000 of 980,772 bytes" in plan.unknown[0].reason

from __future__ import annotations

import datetime
import uuid

import numpy as np
import pytest
import uproot

from samples.stamps import fix_times


def write(path):
    with uproot.recreate(path, uuid_function=lambda: uuid.UUID(int=1)) as file:
        for name in ("first", "second"):
            tree = file.mktree(name, {"x": "float32"}, initial_basket_capacity=1)
            for start in range(3):  # more than the capacity: the tree moves, a gap is left behind
                tree.extend({"x": np.arange(start, start + 5, dtype=np.float32)})
    return path


def test_trees_stay_readable_and_times_are_constant(tmp_path):
    path = write(tmp_path / "a.root")
    fix_times(path)
    with uproot.open(path) as file:
        assert file["second"]["x"].array().to_list() == [
            0,
            1,
            2,
            3,
            4,
            1,
            2,
            3,
            4,
            5,
            2,
            3,
            4,
            5,
            6,
        ]
        expected = datetime.datetime(2018, 1, 1)
        assert file.created_on == file.modified_on == expected
        assert {file.key(name).created_on for name in file.keys()} == {expected}  # noqa: SIM118


def packed(moment):
    """TDatime's packing, written a second time on purpose."""
    date = (moment.year - 1995) << 26 | moment.month << 22 | moment.day << 17
    return date | moment.hour << 12 | moment.minute << 6 | moment.second


def words_between(path, first, last):
    content = np.frombuffer(path.read_bytes(), np.uint8).astype(np.int64)
    words = content[:-3] << 24 | content[1:-2] << 16 | content[2:-1] << 8 | content[3:]
    return int(((words >= packed(first)) & (words <= packed(last))).sum())


def test_no_other_time_is_left(tmp_path):
    start = datetime.datetime.now() - datetime.timedelta(seconds=2)
    path = write(tmp_path / "a.root")
    end = datetime.datetime.now() + datetime.timedelta(seconds=2)
    assert words_between(path, start, end) > 10
    fix_times(path)
    assert words_between(path, start, end) == 0


def test_second_call_changes_nothing(tmp_path):
    path = write(tmp_path / "a.root")
    fix_times(path)
    once = path.read_bytes()
    fix_times(path)
    assert path.read_bytes() == once


def test_other_objects_are_refused(tmp_path):
    path = tmp_path / "h.root"
    with uproot.recreate(path) as file:
        file["histogram"] = np.histogram([1.0, 2.0], bins=3)
    with pytest.raises(ValueError, match="'histogram;1' is a TH1D; only TTrees"):
        fix_times(path)

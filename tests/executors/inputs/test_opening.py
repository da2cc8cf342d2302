"""Why a file cannot be opened, in one sentence."""

from __future__ import annotations

import pytest
from fsspec.registry import known_implementations

from executors.inputs.fileset import FileEntry
from executors.inputs.opening import UnreadableFileError, inspect_file


def refusal(name):
    with pytest.raises(UnreadableFileError) as caught:
        inspect_file(FileEntry("mc", str(name)))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("end", ["root", "parquet"])
@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("davs", "cannot be read by davs://; read it by root:// or https://"),
        ("srm", "cannot be read by srm://; read it by root:// or https://"),
        ("nopackage", "needs fsspec_absent for nopackage://, which is not installed; read it by"),
    ],
)
def test_a_protocol_that_is_not_supported_is_named(monkeypatch, protocol, said, end):
    known = {"class": "fsspec_absent.Files", "err": "install fsspec_absent"}
    monkeypatch.setitem(known_implementations, "nopackage", known)
    assert refusal(f"{protocol}://host/a.{end}").startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"abc", "is not a ROOT file (first four bytes are b'abc')"),
        (b"run,event\n" * 100, "is not a ROOT file (first four bytes are b'run,')"),
        (b"root", "is cut short: 4 bytes where 403 should be; copy it again"),
        (b"", "is empty (0 bytes); copy it again"),
    ],
)
def test_a_file_that_is_no_root_file_is_told_by_what_it_holds(tmp_path, content, said):
    path = tmp_path / "a.root"
    path.write_bytes(content)
    assert refusal(path) == said


def test_a_file_that_ends_in_its_header_is_cut_short(tmp_path, sample):
    path = tmp_path / "a.root"
    path.write_bytes(sample[0].read_bytes()[:100])
    assert refusal(path) == "is cut short: 100 bytes where 403 should be; copy it again"

"""Input behind a real XRootD server: what a URL stands for, what is remembered, what fails."""

from __future__ import annotations

import os
import time

import pytest
import uproot

from executors.errors import ConfigurationError
from executors.failures import kind_of
from executors.inputs.facts_cache import SETTLED, FactsCache, stamp
from executors.inputs.fileset import FileEntry, from_inputs
from executors.inputs.opening import UnreadableFileError, inspect_file
from executors.inputs.remote import forget_connections
from executors.plan import plan_fileset
from executors.retry import RetryPolicy

ONCE = RetryPolicy(attempts=1)
FILES = ("a.root", "b.root", "deep/c.root", "deep/down/d.root", "notes.txt", "README")


@pytest.fixture
def forgiving():
    """Let the client of this process ask a server again that could not be reached."""
    client = pytest.importorskip("XRootD.client", reason="XRootD for Python is not installed")
    client.EnvPutInt("StreamErrorWindow", 0)


def names(server, *inputs):
    """What inputs stand for, relative to the server."""
    found = from_inputs([server.url(name) for name in inputs], retry=ONCE)
    return [entry.file.removeprefix(server.url()) for entry in found]


def test_directories_and_patterns_stand_for_files(xrootd, sample):
    for name in FILES:
        xrootd.add(sample[0], f"store/{name}")
    below = [f"store/{name}" for name in FILES[:4]]
    assert names(xrootd, "store") == names(xrootd, "store/") == below
    assert names(xrootd, "store/*.root") == below[:2]
    assert names(xrootd, "s*e/dee[p]/*.root") == below[2:3]
    assert names(xrootd, "store/**/*.root") == below
    assert names(xrootd, "store/**/down/*") == below[3:]
    assert names(xrootd, "store/*.root?token=x") == [f"{name}?token=x" for name in below[:2]]
    # names without an extension are looked at, others taken at their word
    assert names(xrootd, "store/README", "absent.root") == ["store/README", "absent.root"]
    for wrong, words in {
        "store/*.parquet": "no file matches",
        "absent": "no such file or directory",
        "absent/*.root": "no such file or directory",
    }.items():
        with pytest.raises(ConfigurationError, match=words) as caught:
            names(xrootd, wrong)
        assert xrootd.url(wrong) in str(caught.value)
    (xrootd.data / "store" / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"holds no \*.root file"):
        names(xrootd, "store/empty")


@pytest.mark.smoke
def test_a_file_is_what_it_is_on_disk(xrootd, sample):
    url = xrootd.add(sample[0])
    assert inspect_file(FileEntry("mc", url)) == inspect_file(FileEntry("mc", str(sample[0])))
    far, near = (plan_fileset([FileEntry("mc", name)]) for name in (url, str(sample[0])))
    assert far.fileset_hash == near.fileset_hash


def test_what_cannot_be_read_is_told_and_not_asked_again(xrootd, sample, tmp_path):
    cut = tmp_path / "cut.root"
    cut.write_bytes(sample[0].read_bytes()[:-100])
    urls = {
        xrootd.add(cut): "is cut short",
        xrootd.url("absent.root"): "[3011]",
    }
    for url, words in urls.items():
        with pytest.raises(UnreadableFileError) as caught:
            inspect_file(FileEntry("mc", url))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert kind_of(caught.value) == "permanent"


def test_a_file_is_remembered_until_it_changes(xrootd, sample, tmp_path):
    url = xrootd.add(sample[0])
    entry = FileEntry("mc", f"{url}?authz=secret")
    assert stamp(entry) is None  # it changed just now
    then = time.time() - 10 * SETTLED
    os.utime(xrootd.data / "a.root", (then, then))
    looks = []

    def look():
        cache = FactsCache(tmp_path, lambda one: looks.append(one) or inspect_file(one))
        facts = cache(entry)
        cache.save()
        return facts

    first = look()
    assert (look(), len(looks)) == (first, 1)
    assert "secret" not in (tmp_path / "files.json").read_text()
    xrootd.add(sample[1], "a.root")
    os.utime(xrootd.data / "a.root", (then + 1, then + 1))
    forget_connections(url)  # else what is kept open reads the old file for half a minute
    assert (look().num_entries, len(looks)) == (130, 2)


def test_a_server_that_came_back_is_read_again(xrootd, sample, forgiving):
    url = xrootd.add(sample[0])

    def read():
        try:
            with uproot.open({url: None}, object_cache=None, array_cache=None) as file:
                return len(file["Events"]["event"].array())
        except OSError:
            forget_connections(url)
            raise

    assert read() == 250
    xrootd.stop()
    with pytest.raises(OSError, match="Connection error") as caught:
        read()
    assert kind_of(caught.value) == "transient"
    xrootd.start()
    assert read() == 250


def test_a_server_that_is_not_there_is_named(xrootd):
    xrootd.stop()
    with pytest.raises(ConfigurationError, match=r"cannot be listed .*check host and path"):
        names(xrootd, "store")
    with pytest.raises(UnreadableFileError, match="could not be opened") as caught:
        inspect_file(FileEntry("mc", xrootd.url("a.root")))
    assert kind_of(caught.value) == "transient"

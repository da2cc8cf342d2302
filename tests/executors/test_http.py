"""Input behind a real web server with range requests."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from executors.errors import ConfigurationError
from executors.failures import kind_of
from executors.inputs.facts_cache import SETTLED, FactsCache, stamp
from executors.inputs.fileset import FileEntry, from_inputs
from executors.inputs.opening import UnreadableFileError, inspect_file
from executors.plan import plan_fileset
from executors.retry import RetryPolicy
from tests.executors.webserver import WebServer


@pytest.fixture
def web(sample, tmp_path):
    for path in sample:
        shutil.copy(path, tmp_path)
    with WebServer(tmp_path) as server:
        yield server


def test_a_file_is_what_it_is_on_disk(web, sample):
    far, near = (
        plan_fileset(from_inputs(names), chunk_size=100)
        for names in ([web.url("a.root"), web.url("b.root?version=2")], sample)
    )
    assert far.fileset_hash == near.fileset_hash
    assert (far.events, far.unknown, far.notes) == (380, (), ())


def test_servers_list_no_directories(web):
    with pytest.raises(ConfigurationError, match="list no directories; name each file"):
        from_inputs([web.url("*.root")])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "permanent"), (403, "permanent"), (404, "permanent"), (429, "transient"),
     (500, "transient"), (503, "transient")],
)  # fmt: skip
def test_an_answer_that_is_no_file_is_told(web, status, kind):
    web.answers = dict.fromkeys(range(10), status)
    with pytest.raises(UnreadableFileError, match=r"could not be opened \(") as caught:
        inspect_file(FileEntry("mc", web.url("a.root")))
    assert kind_of(caught.value) == kind
    assert ("FileNotFoundError" if status == 404 else f"{status}, message=") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_busy_is_asked_again(web):
    web.answers = {1: 503, 2: 429}
    plan = plan_fileset(from_inputs([web.url("a.root")]), retry=RetryPolicy(3, 0.01))
    assert plan.events == 250
    assert plan.notes == (f"{web.url('a.root')} could only be opened at attempt 3",)
    asked = web.asked["GET"]
    plan = plan_fileset(from_inputs([web.url("absent.root")]), retry=RetryPolicy(3, 0.01))
    assert "could not be opened (FileNotFoundError" in plan.unknown[0].reason
    assert web.asked["GET"] == asked + 1  # what is not there is asked for once


def test_a_file_that_is_cut_short_is_noticed(web):
    path = web.folder / "a.root"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableFileError, match="is cut short"):
        inspect_file(FileEntry("mc", web.url("a.root")))


def test_a_server_without_range_requests_is_named(web):
    web.ranges = False
    with pytest.raises(UnreadableFileError, match="gives whole files alone"):
        inspect_file(FileEntry("mc", web.url("a.root")))


def test_a_server_that_is_not_there_may_come_back(sample, tmp_path):
    with WebServer(tmp_path) as server:
        url = server.url("a.root")
    with pytest.raises(UnreadableFileError, match="could not be opened") as caught:
        inspect_file(FileEntry("mc", url))
    assert kind_of(caught.value) == "transient"


def test_a_file_is_remembered_by_its_etag(web, tmp_path):
    entry = FileEntry("mc", web.url("a.root"))
    cache = FactsCache(tmp_path)
    cache(entry)
    cache.save()
    again = FactsCache(tmp_path)
    assert (again(entry), again.known) == (inspect_file(entry), 1)
    before = stamp(entry)
    then = time.time() - SETTLED
    os.utime(web.folder / "a.root", (then, then))
    assert stamp(entry) != before

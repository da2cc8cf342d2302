"""A run over URLs that hold credentials: they work, and nobody reads them afterwards."""

from __future__ import annotations

import json
import shutil

from aiohttp import web

from tests.commands.running import LOCAL
from tests.executors.webserver import WebServer

SECRET = "eyJhbGciOiJ9x"


class Closed(WebServer):
    """Gives files only to those who know the secret, and never ``b.root``."""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("authz") != SECRET:
            return web.Response(status=403)
        if request.method == "GET" and request.path == self.failing and self.asked["GET"] > 6:
            return web.Response(status=403)
        return await super()._answer(request)

    failing = ""


def test_a_token_is_used_and_never_written(flashbrew, processors, sample, tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    for path in sample:
        shutil.copy(path, served)
    output, cache = tmp_path / "out", tmp_path / "cache"
    monkeypatch.setenv("FLASHBREW_CACHE", str(cache))
    with Closed(served) as server:
        names = [f"{server.url(path.name)}?authz={SECRET}" for path in sample]
        # the second file is refused once it was planned, the third from the beginning
        server.failing = "/b.root"
        absent = f"{server.url('absent.root')}?authz={SECRET}"
        run = (f"{processors}:Writing", *names, absent, "--output", output, "-v", "--merge", "file")
        where = (*LOCAL, "--chunksize", 60, "--retries", 1)
        status, out, err = flashbrew(*run, *where, "--retry-delay", 0)
        assert status == 3, err
        planned, listed, complained = flashbrew(*run, *where, "--dry-run")
        assert planned == 3
        reported, shown, told = flashbrew("report", output)
        assert reported == 0
    for text in (out, err, listed, complained, shown, told):
        assert SECRET not in text
    assert "?***" in out + err
    kept = [path for root in (output, cache) for path in root.rglob("*") if path.is_file()]
    assert output / "report.json" in kept
    for path in kept:
        assert SECRET not in path.name
        assert SECRET.encode() not in path.read_bytes(), path
    report = json.loads((output / "report.json").read_text())
    assert report["datasets"]["input"]["events"]["written"] == 250
    assert report["arguments"]["inputs"][0].endswith("/a.root?***")
    (failed, *_) = report["datasets"]["input"]["failures"]
    assert "b.root?***" in failed["file"]

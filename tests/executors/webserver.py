"""A web server of this machine with range requests, for tests."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

from aiohttp import web


class WebServer:
    """Context manager that serves a folder; aiohttp answers range requests, with an ETag.

    ``answers`` replaces responses to ``GET``, counted from 1, by a status; ``ranges`` says whether
    parts of files are given. ``asked`` counts requests by method.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.answers: dict[int, int] = {}
        self.asked: Counter[str] = Counter()
        self.ranges = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> WebServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/{name:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.method] += 1
        path = self.folder / request.match_info["name"]
        if request.method == "GET" and self.asked["GET"] in self.answers:
            return web.Response(status=self.answers[self.asked["GET"]])
        if not path.is_file():
            return web.Response(status=404)
        if not self.ranges:
            return web.Response(body=path.read_bytes())
        return web.FileResponse(path)

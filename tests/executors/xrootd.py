"""An XRootD server on this machine, for tests: Debian's `xrootd-server` on a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

DEADLINE = 20.0  # seconds until a server that starts must answer; it takes less than one
ACCOUNT = "nobody"  # whom the server becomes where root starts it, which it refuses to stay
CONFIGURATION = """\
all.export /
oss.localroot {data}
all.adminpath {state}
all.pidpath {state}
xrd.port {port}
xrd.network nodnr
xrd.allow host 127.0.0.1
xrd.allow host localhost
"""


class Unavailable(RuntimeError):
    """The server is not installed here; the message says how to install it."""


class Server:
    """An XRootD server over the folder ``data``; answers on 127.0.0.1 alone.

    Arguments:
        folder: Empty folder that others may enter.
    Raises: Unavailable where it is not installed, RuntimeError where it does not start.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("xrootd")
        if program is None:
            msg = "xrootd is not on PATH: apt-get install xrootd-server (make test-tools)"
            raise Unavailable(msg)
        self.data, self._state = folder / "data", folder / "state"
        self._log = folder / "state" / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for path in (self.data, self._state):
            path.mkdir(mode=0o755)
        account = []
        if os.geteuid() == 0:
            user = pwd.getpwnam(ACCOUNT)
            for path in (folder, self.data, self._state):
                os.chown(path, user.pw_uid, user.pw_gid)
            account = ["-R", ACCOUNT]
        file = folder / "server.cfg"
        file.write_text(
            CONFIGURATION.format(data=self.data, state=self._state, port=self.port),
            encoding="utf-8",
        )
        self._command = [program, *account, "-c", str(file), "-l", str(self._log), "-n", "tests"]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, name: str = "") -> str:
        """URL of a file, relative to the folder."""
        return f"root://127.0.0.1:{self.port}//{name}"

    def add(self, path: Path, name: str | None = None) -> str:
        """Copy a file into the folder; its URL."""
        place = self.data / (name or path.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
        place.chmod(0o644)
        return self.url(str(place.relative_to(self.data)))

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._state,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError as error:
                ended = self._process.poll()
                if ended is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                self.stop()
                said = [path.read_text(errors="replace") for path in self._state.rglob("log")]
                lines = "".join(said).strip().splitlines() or ["no log"]
                msg = f"xrootd does not start (status {ended}): {lines[-1]}"
                raise RuntimeError(msg) from error

    def stop(self) -> None:
        """End the server as a crash would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

"""What is checked before the first chunk: software of all processes, the output directory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed

from executors.errors import ConfigurationError, first_line
from executors.results.output import probe_writable

__all__ = [
    "Fitness",
    "OutputProbe",
    "WorkerCheck",
    "check_versions",
    "check_workers",
    "code_digest",
    "lasting",
    "software",
]

logger = logging.getLogger(__name__)
Probe = Callable[[], str | None]
# what is pickled between processes or decides a number; torch and numba only where they are
_PACKAGES = (
    "awkward",
    "boost-histogram",
    "cloudpickle",
    "coffea",
    "dask",
    "distributed",
    "flashbrew",
    "hist",
    "numba",
    "numpy",
    "torch",
    "uproot",
)
_SCHEDULER = ("dask", "distributed")  # what client and scheduler have to agree on
_ROOMS = ("executors", "flows", "processors")
_CODE = "code of flashbrew"
_SYNC = 10.0  # seconds that a shared file system may take to show a new file; chosen
_INTERVAL = 0.2  # seconds between two looks


@dataclass(frozen=True)
class OutputProbe:
    """Proof that client and worker see one directory and that both can write there.

    A call on a worker reads the token that `leave_token` wrote, and answers with a file of its
    own that `collect` looks for: a directory of the same name on a disk of its own would take
    every output and show none.
    """

    directory: Path
    token: str = ""

    def __call__(self) -> str | None:
        """Write, read back; return what is wrong, or None."""
        complaint = probe_writable(self.directory)
        if complaint is not None or not self.token:
            return complaint
        if not _appears(self.directory / self.token):
            return (
                f"output directory {self.directory} is another one there; choose an --output "
                "on a file system that this machine and all workers share"
            )
        answer = self.directory / f"{self.token}.{uuid.uuid4().hex}"
        answer.write_bytes(b"")
        return None

    def ready(self) -> OutputProbe:
        """Write a token for workers to find; the probe that looks for it."""
        token = f".probe-{uuid.uuid4().hex}"
        (self.directory / token).write_bytes(b"")
        return OutputProbe(self.directory, token)

    def collect(self, workers: int) -> str | None:
        """Wait for the answers of workers; remove token and answers, return what is wrong."""
        try:
            return None if self._answered(workers) else self._unanswered()
        finally:
            self.clear()

    def clear(self) -> None:
        """Remove token and answers."""
        for path in self.directory.glob(f"{self.token}*"):
            path.unlink(missing_ok=True)

    def _answered(self, workers: int) -> bool:
        deadline = time.monotonic() + _SYNC
        while len(list(self.directory.glob(f"{self.token}.*"))) < workers:
            if time.monotonic() > deadline:
                return False
            time.sleep(_INTERVAL)
        return True

    def _unanswered(self) -> str:
        return (
            f"files that workers write to {self.directory} do not show here within {_SYNC:.0f} s; "
            "choose an --output on a file system that this machine and all workers share"
        )


@contextmanager
def lasting(probe: Probe | None) -> Iterator[Probe | None]:
    """A probe for workers that come later: what an `OutputProbe` looks for stays until the end."""
    if not isinstance(probe, OutputProbe):
        yield probe
        return
    ready = probe.ready()
    try:
        yield ready
    finally:
        ready.clear()


@dataclass(frozen=True)
class Fitness:
    """What `check_workers` asks, for a worker to ask itself."""

    expected: Mapping[str, str]
    probe: Probe | None = None

    @classmethod
    def of(cls, probe: Probe | None = None) -> Fitness:
        """What this process has is what a worker must have."""
        return cls(software(), probe)

    def complaint(self) -> str | None:
        """What is wrong with this process, or None."""
        found = _difference("it", software(), self.expected, tuple(self.expected))
        if found is None and self.probe is not None:
            found = self.probe()
        return found


class WorkerCheck(distributed.WorkerPlugin):  # type: ignore[misc]  # distributed is not typed
    """Worker plugin for a run's own pool that grows: who comes later is checked too.

    A worker that does not pass leaves before it has run anything; why is in its log.
    """

    name = "flashbrew-gate"

    def __init__(self, probe: Probe | None = None) -> None:
        self.fitness = Fitness.of(probe)

    def setup(self, worker: Any) -> None:
        """Let the worker in, or close it."""
        complaint = self.fitness.complaint()
        if complaint is not None:
            logger.error("this worker is not let in: %s", complaint)
            worker.loop.add_callback(worker.close, nanny=True, reason=complaint)


def check_workers(client: distributed.Client, probe: Probe | None = None) -> None:
    """Refuse workers with other software than the client, or that cannot write the output.

    Arguments:
        probe: Called on every worker; returns a complaint or None. An `OutputProbe` is also
            checked from this side.
    Raises: ConfigurationError naming the worker.
    """
    check_versions(client)
    if probe is None:
        return
    with ExitStack() as stack:
        shared = probe.ready() if isinstance(probe, OutputProbe) else None
        if shared is not None:
            stack.callback(shared.clear)
        answers = _ask(client, shared or probe)
        complaints = [f"worker {worker}: {text}" for worker, text in answers.items() if text]
        if shared is not None:
            missing = shared.collect(0 if complaints else len(answers))
            complaints += [missing] if missing else []
    if complaints:
        raise ConfigurationError(complaints[0])


def check_versions(client: distributed.Client) -> None:
    """Compare what client, scheduler and workers run.

    Results of other versions may differ or not add; other code is not what the report names.

    Raises: ConfigurationError naming the process, the package and both versions.
    """
    here = software()
    found = client.get_versions()
    _compare("the scheduler", _from_dask(found["scheduler"]), here, _SCHEDULER)
    for worker, versions in found["workers"].items():
        _compare(f"worker {worker}", _from_dask(versions), here, ("python", *_SCHEDULER))
    for worker, versions in _ask(client, software).items():
        _compare(f"worker {worker}", versions, here, tuple(here))


def software() -> dict[str, str]:
    """Versions of this process, and a digest of the project's code."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {**versions, _CODE: code_digest()}


def code_digest() -> str:
    """SHA-256 of the Python files of the rooms that workers run, sixteen digits of it."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        spec = importlib.util.find_spec(room)
        folders = spec.submodule_search_locations if spec is not None else None
        for folder in map(Path, folders or ()):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{room}/{path.relative_to(folder).as_posix()}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _ask(client: distributed.Client, question: Callable[[], Any]) -> dict[str, Any]:
    """Answers of all workers.

    Raises: ConfigurationError where one cannot answer.
    """
    answers: dict[str, Any] = client.run(question, on_error="return")
    for worker, answer in answers.items():
        if isinstance(answer, ModuleNotFoundError):
            msg = (
                f"worker {worker} has no module {answer.name!r}; install flashbrew in the "
                "environment or the image of the workers"
            )
            raise ConfigurationError(msg)
        if isinstance(answer, BaseException):
            msg = f"worker {worker} cannot be checked: {type(answer).__name__}: "
            raise ConfigurationError(msg + first_line(answer))
    return answers


def _from_dask(versions: Mapping[str, Any] | None) -> dict[str, str]:
    """Versions as Dask tells them, Python by its first two numbers."""
    packages = dict((versions or {}).get("packages", {}))
    python = str(packages.get("python", "")).split(".")[:2]
    return {name: str(version) for name, version in packages.items()} | {"python": ".".join(python)}


def _compare(
    who: str, theirs: Mapping[str, str], ours: Mapping[str, str], names: tuple[str, ...]
) -> None:
    complaint = _difference(who, theirs, ours, names)
    if complaint is not None:
        raise ConfigurationError(complaint)


def _difference(
    who: str, theirs: Mapping[str, str], ours: Mapping[str, str], names: tuple[str, ...]
) -> str | None:
    for name in names:
        found = theirs.get(name, "absent")
        if found != ours[name]:
            return (
                f"{who} has {name} {found}, the client has {ours[name]}; use one environment "
                "or image for all of them"
            )
    return None


def _appears(path: Path) -> bool:
    """Whether a file is there, or shows up in the time that shared file systems take."""
    deadline = time.monotonic() + _SYNC
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(_INTERVAL)
    return True

"""Dask workers as HTCondor jobs: what is submitted, and a pool that lasts for one run."""

from __future__ import annotations

import logging
import secrets
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask
import distributed
import yaml
from distributed import Security

from executors.credentials import TlsFiles, check_proxy, check_token, run_credentials
from executors.errors import ConfigurationError, first_line
from executors.jobqueue import HTCondorCluster, HTCondorJob, dask_jobqueue
from executors.settings import ExecutorSettings
from executors.sites import SiteSettings, shell_word
from executors.watch import RUN_ATTRIBUTE, JobWatch

__all__ = ["open_htcondor", "submit_description"]

logger = logging.getLogger(__name__)
# ends the worker before the batch system does: it hands its results over and leaves
GRACE = timedelta(minutes=10)
# a nanny restarts a dead worker; jobs that are gone are the watch's business
RESTART_TIMEOUT = "10 minutes"
_LOST = "distributed.deploy.lost-worker-timeout"
POLL = 0.5  # seconds between two looks at whether a worker is there
_UNKNOWN = "HOST:PORT"  # of a scheduler that does not run
_NOWHERE = TlsFiles(*(Path(f"RUN/{name}.pem") for name in TlsFiles._fields))


class WorkerJob(HTCondorJob):  # type: ignore[misc]  # dask-jobqueue is not typed
    """One worker in one job; its Dask threads are not the cores that it asks for."""

    def __init__(self, *args: Any, readers: int = 1, **others: Any) -> None:
        self._readers = readers
        super().__init__(*args, **others)

    @property
    def worker_process_threads(self) -> int:
        """Chunks that the worker takes at a time."""
        return self._readers


class WorkerCluster(HTCondorCluster):  # type: ignore[misc]  # dask-jobqueue is not typed
    """Scheduler in this process, workers as jobs that find their credentials in files."""

    job_cls = WorkerJob

    def __init__(self, *, worker_security: Security | None, **others: Any) -> None:
        self._worker_security = worker_security
        super().__init__(**others)

    def _get_worker_security(self, security: Security | None) -> Security | None:
        """Paths as the worker sees them; dask-jobqueue would write files of its own."""
        del security
        return self._worker_security


def submit_description(settings: ExecutorSettings) -> str:
    """Text that `condor_submit` gets for each worker of a run, known before the run.

    What only the run knows reads ``HOST:PORT`` (where its scheduler listens), ``RUN`` (folder of
    its credentials, its name) and ``worker`` (name of the worker).

    Raises: ConfigurationError for settings that cannot be submitted.
    """
    site = _site(settings)
    encrypted = not settings.insecure
    address = f"{'tls' if encrypted else 'tcp'}://{_known_address(site)}"
    with _packaged_defaults():
        options = _job_options(settings, _NOWHERE if encrypted else None, "RUN")
        job = WorkerJob(address, name="worker", **options)
        text: str = job.job_script()
    return text


@contextmanager
def open_htcondor(settings: ExecutorSettings) -> Iterator[tuple[distributed.Client, JobWatch]]:
    """Start a scheduler here and workers as jobs, wait for the first; stop everything at the end.

    Jobs that vanish are submitted again, see `JobWatch`.

    Raises: ConfigurationError where nothing can be submitted, or no worker comes.
    """
    site = _site(settings)
    _check_site(site)
    run = secrets.token_hex(6)
    with ExitStack() as stack:
        stack.enter_context(_packaged_defaults())
        stack.enter_context(dask.config.set({_LOST: RESTART_TIMEOUT}))
        security, files = None, None
        if not settings.insecure:
            directory = Path(site.shared_directory)
            security, files = stack.enter_context(run_credentials(directory))
        options = _job_options(settings, files, run)
        if site.log_directory is not None:
            Path(site.log_directory).mkdir(parents=True, exist_ok=True)
        cluster = stack.enter_context(
            WorkerCluster(
                worker_security=options.pop("security"),
                security=security,
                scheduler_options=_scheduler_options(site),
                silence_logs="CRITICAL",
                **options,
            )
        )
        client = stack.enter_context(distributed.Client(cluster))
        watch = JobWatch(cluster, run, settings.processes, site.cancel_arguments)
        stack.callback(watch.remove_jobs)
        _submit(cluster, settings.processes)
        stack.enter_context(watch)
        _await_worker(client, watch, site)
        yield client, watch


def _site(settings: ExecutorSettings) -> SiteSettings:
    if settings.site is None:
        msg = "--executor htcondor needs the settings of a site; name one with --site"
        raise ConfigurationError(msg)
    site = settings.site
    if not site.tls and not settings.insecure:
        msg = (
            "the site's settings say tls: false; everybody who reaches the scheduler could run "
            "code in your name: leave TLS on, or add --insecure"
        )
        raise ConfigurationError(msg)
    if site.exposed_dashboard and not settings.insecure:
        msg = (
            f"dashboard_address {site.dashboard_address} is open to other machines and asks for no "
            "password; use 127.0.0.1 and an ssh tunnel, or add --insecure"
        )
        raise ConfigurationError(msg)
    return site


def _check_site(site: SiteSettings) -> None:
    """Look for what a run would miss after hours in the queue."""
    if site.bare_python:
        msg = (
            f"jobs at {site.preset} would start {site.python} of a bare node, without flashbrew: "
            "name an image in the site's YAML file, or a python that all nodes see "
            "(condor/README.md)"
        )
        raise ConfigurationError(msg)
    if shutil.which("condor_submit") is None:
        msg = (
            "condor_submit is not on the PATH; run on a machine that submits to the pool, or see "
            "docs/pools.md"
        )
        raise ConfigurationError(msg)
    if site.proxy_path is not None:
        check_proxy(site.proxy_path, site.credential_lifetime)
    if site.token is not None:
        check_token(Path(site.token), site.credential_lifetime)


@contextmanager
def _packaged_defaults() -> Iterator[None]:
    """Dask-jobqueue as its package is: the site's settings are the only ones, not a user's file."""
    text = Path(dask_jobqueue.__file__).with_name("jobqueue.yaml").read_text("utf-8")
    defaults = yaml.safe_load(text)["jobqueue"]["htcondor"]
    with dask.config.set({"jobqueue.htcondor": defaults}):
        yield


def _job_options(settings: ExecutorSettings, files: TlsFiles | None, run: str) -> dict[str, Any]:
    """Arguments of a job, all of them: nothing is left to anybody's configuration."""
    site = _site(settings)
    return {
        "cores": site.cores,
        "memory": site.memory,
        "disk": site.disk,
        "processes": 1,
        "readers": site.worker_threads,
        "nanny": True,
        "protocol": "tls://" if files else "tcp://",
        "security": _worker_security(site, files),
        "death_timeout": int(site.death_timeout.total_seconds()),
        "python": site.python or shell_word(sys.executable),
        "worker_extra_args": _worker_arguments(site),
        "job_script_prologue": _prologue(settings, site),
        "job_extra_directives": _directives(site, files, run),
        "submit_command_extra": list(site.submit_arguments),
        "cancel_command_extra": list(site.cancel_arguments),
    }


def _worker_security(site: SiteSettings, files: TlsFiles | None) -> Security | None:
    """Paths of the credentials as a worker sees them: transferred files lie where it starts."""
    if files is None:
        return None
    names = [path.name if site.credentials == "transfer" else str(path) for path in files]
    ca, cert, key = map(shell_word, names)
    paths = {"tls_ca_file": ca, "tls_worker_cert": cert, "tls_worker_key": key}
    return Security(require_encryption=True, **paths)


def _worker_arguments(site: SiteSettings) -> list[str]:
    arguments = ["--dashboard-address", "127.0.0.1:0"]
    arguments += ["--local-directory", "$_CONDOR_SCRATCH_DIR"]
    for option, ports in (("--worker-port", site.worker_ports), ("--nanny-port", site.nanny_ports)):
        if ports is not None:
            arguments += [option, ports]
    if site.request_gpus:
        arguments += ["--resources", f"GPU={site.worker_threads}"]
    if site.walltime > 2 * GRACE:
        seconds = int((site.walltime - GRACE).total_seconds())
        arguments += ["--lifetime", f"{seconds}s", "--lifetime-stagger", "60s"]
    return arguments


def _prologue(settings: ExecutorSettings, site: SiteSettings) -> list[str]:
    """Shell commands of a job: environment first, then what the site wants."""
    variables: Mapping[str, str] = {
        "XRD_RUNFORKHANDLER": "1",
        **settings.environment(),
        **site.environment,
    }
    exports = []
    for name, value in variables.items():
        try:
            exports.append(f"export {name}={shell_word(value)}")
        except ValueError as error:
            msg = f"environment variable {name} cannot be handed to jobs: it {first_line(error)}"
            raise ConfigurationError(msg) from error
    return [*exports, *site.prologue]


def _directives(site: SiteSettings, files: TlsFiles | None, run: str) -> dict[str, Any]:
    """Lines of the submit file beyond those of dask-jobqueue."""
    lines: dict[str, Any] = {f"MY.{RUN_ATTRIBUTE}": f'"{run}"'}
    lines["should_transfer_files"] = "YES" if site.transfer_files else "NO"
    if site.transfer_files:
        lines["when_to_transfer_output"] = "ON_EXIT"
        lines["transfer_output_files"] = '""'
    if files is not None and site.credentials == "transfer":
        lines["transfer_input_files"] = ", ".join(map(str, files))
    if site.image is not None and site.image_style == "container":
        lines["container_image"] = site.image
    elif site.image is not None:
        lines["MY.SingularityImage"] = f'"{site.image}"'
    if site.request_gpus:
        lines["request_gpus"] = site.request_gpus
    lines[site.walltime_directive] = int(site.walltime.total_seconds())
    if site.proxy_path is not None:
        lines["x509userproxy"] = shell_word(str(site.proxy_path))
    for name in ("accounting_group", "accounting_group_user"):
        if getattr(site, name) is not None:
            lines[name] = getattr(site, name)
    if site.log_directory is not None:
        lines |= _logs(site.log_directory, stream=site.stream_logs)
    lines |= {name: _directive(name, value) for name, value in site.directives.items()}
    return lines


def _logs(directory: str, *, stream: bool) -> dict[str, Any]:
    name = f"{directory}/worker-$(ClusterId).$(ProcId)"
    streamed = {"stream_output": True, "stream_error": True} if stream else {}
    return {"output": f"{name}.out", "error": f"{name}.err", "log": f"{name}.log", **streamed}


def _directive(name: str, value: Any) -> Any:
    """Text of an attribute of the job is a string there, and so quoted."""
    own = name.startswith(("+", "MY."))
    return f'"{value}"' if own and isinstance(value, str) else value


def _known_address(site: SiteSettings) -> str:
    port = site.scheduler_port
    fixed = port.isdecimal() and port != "0"
    return f"{_host(site)}:{port}" if fixed else _UNKNOWN


def _host(site: SiteSettings) -> str:
    return socket.gethostname() if site.scheduler_host == "auto" else site.scheduler_host


def _scheduler_options(site: SiteSettings) -> dict[str, Any]:
    host = _host(site)
    return {
        "host": host,
        "port": _free_port(host, site.scheduler_port),
        "dashboard_address": site.dashboard_address,
    }


def _free_port(host: str, ports: str) -> int:
    """First port of a range that nothing listens on.

    Raises: ConfigurationError where the host is not this machine, or every port is taken.
    """
    first, _, last = ports.partition(":")
    for port in range(int(first), int(last or first) + 1):
        try:
            with socket.create_server((host, port)):
                return port
        except OSError as error:
            reason = error.strerror or first_line(error)
    msg = f"no scheduler can listen on {host}, port {ports} ({reason}); set scheduler_host or _port"
    raise ConfigurationError(msg)


def _submit(cluster: WorkerCluster, jobs: int) -> None:
    """Submit the first jobs; later ones are the watch's business."""
    try:
        cluster.scale(jobs=jobs)
        cluster.sync(cluster._correct_state)
    except (RuntimeError, OSError, ValueError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
        msg = f"condor_submit failed: {said.strip()}; --dry-run shows what it got"
        raise ConfigurationError(msg) from error


def _await_worker(client: distributed.Client, watch: JobWatch, site: SiteSettings) -> None:
    """Wait until a worker is there.

    Raises: ConfigurationError where the jobs fail, or none starts for ``death_timeout``.
    """
    deadline = time.monotonic() + site.death_timeout.total_seconds()
    logger.info("waiting for the first of %d jobs", watch.jobs)
    while not client.scheduler_info()["workers"]:
        if watch.problem is not None:
            raise ConfigurationError(watch.problem)
        if time.monotonic() > deadline:
            minutes = int(site.death_timeout.total_seconds() // 60)
            hint = f"; their logs are in {site.log_directory}" if site.log_directory else ""
            command = " ".join(["condor_q", *map(shlex.quote, site.cancel_arguments)])
            msg = (
                f"no job became a worker within {minutes} min (death_timeout); {command} shows "
                f"whether they wait or run, a running one must reach {client.scheduler.address}"
                f"{hint}"
            )
            raise ConfigurationError(msg)
        time.sleep(POLL)

"""One Dask worker as one HTCondor job: what is submitted for it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask
import yaml
from distributed import Security
from distributed.core import Status

from executors.credentials import TlsFiles
from executors.errors import ConfigurationError, first_line
from executors.htcondor.jobqueue import HTCondorJob, dask_jobqueue
from executors.htcondor.sites import SiteSettings, shell_word
from executors.htcondor.watch import RUN_ATTRIBUTE
from executors.self_watch import as_environment, self_watch
from executors.settings import ExecutorSettings

__all__ = [
    "WorkerJob",
    "host_of",
    "job_options",
    "packaged_defaults",
    "site_of",
    "submit_description",
]

# ends the worker before the batch system does: it hands its results over and leaves
GRACE = timedelta(minutes=10)
_TOKEN = "BEARER_TOKEN_FILE"  # where XRootD's client looks for one
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

    async def start(self) -> None:
        """Submit the job; one that could not be submitted counts as failed, not as created."""
        try:
            await super().start()
        except BaseException:
            self.status = Status.failed
            raise

    async def close(self) -> None:
        """Remove the job; a cluster that ends wants to know of each that it has."""
        await super().close()
        self.status = Status.closed


def submit_description(settings: ExecutorSettings, *, watched: bool = False) -> str:
    """Text that `condor_submit` gets for each worker of a run, known before the run.

    What only the run knows reads ``HOST:PORT`` (where its scheduler listens), ``RUN`` (folder of
    its credentials, its name) and ``worker`` (name of the worker).

    Arguments:
        settings: Site, number of jobs.
        watched: Whether workers sample all the time what they do.
    Raises: ConfigurationError for settings that cannot be submitted.
    """
    site = site_of(settings)
    encrypted = not settings.insecure
    address = f"{'tls' if encrypted else 'tcp'}://{_known_address(site)}"
    with packaged_defaults():
        files = _NOWHERE if encrypted else None
        options = job_options(settings, files, "RUN", watched=watched)
        job = WorkerJob(address, name="worker", **options)
        text: str = job.job_script()
    return text


def site_of(settings: ExecutorSettings) -> SiteSettings:
    """Settings of the site that a run asks for.

    Raises: ConfigurationError where there are none, or others could reach what they open.
    """
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
            "password; use 127.0.0.1 and an ssh tunnel, or add --insecure, which gives up TLS too"
        )
        raise ConfigurationError(msg)
    return site


@contextmanager
def packaged_defaults() -> Iterator[None]:
    """Dask-jobqueue as its package is: the site's settings are the only ones, not a user's file."""
    text = Path(dask_jobqueue.__file__).with_name("jobqueue.yaml").read_text("utf-8")
    defaults = yaml.safe_load(text)["jobqueue"]["htcondor"]
    with dask.config.set({"jobqueue.htcondor": defaults}):
        yield


def job_options(
    settings: ExecutorSettings, files: TlsFiles | None, run: str, *, watched: bool = False
) -> dict[str, Any]:
    """Arguments of a job, all of them: nothing is left to anybody's configuration."""
    site = site_of(settings)
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
        "python": site.python or _word("the path of this Python", sys.executable),
        "worker_extra_args": _worker_arguments(site),
        "job_script_prologue": _prologue(settings, site, watched),
        "job_extra_directives": _directives(site, files, run),
        "submit_command_extra": list(site.submit_arguments),
        "cancel_command_extra": list(site.cancel_arguments),
    }


def _worker_security(site: SiteSettings, files: TlsFiles | None) -> Security | None:
    """Paths of the credentials as a worker sees them: transferred files lie where it starts."""
    if files is None:
        return None
    names = [path.name if site.credentials == "transfer" else str(path) for path in files]
    ca, cert, key = (_word("the path of a credential", name) for name in names)
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


def _prologue(settings: ExecutorSettings, site: SiteSettings, watched: bool) -> list[str]:
    """Shell commands of a job: environment first, then what the site wants."""
    variables: Mapping[str, str] = {
        "XRD_RUNFORKHANDLER": "1",
        **as_environment(self_watch(watched)),
        **settings.environment(),
        **site.environment,
    }
    exports = [
        f"export {name}={_word(f'environment variable {name}', value)}"
        for name, value in variables.items()
    ]
    return [*exports, *_token(site), *site.prologue]


def _word(what: str, text: str) -> str:
    """A word of a job's script or submit file.

    Raises: ConfigurationError where a shell would take it for something else.
    """
    try:
        return shell_word(text)
    except ValueError as error:
        msg = f"{what} cannot be handed to jobs: it {first_line(error)}"
        raise ConfigurationError(msg) from error


def _token(site: SiteSettings) -> list[str]:
    """Tell the worker where its bearer token lies, unless the site's environment does."""
    if site.token is None or _TOKEN in site.environment:
        return []
    transferred = f"$_CONDOR_SCRATCH_DIR/{Path(site.token).name}"
    return [f"export {_TOKEN}={transferred if site.transfer_files else site.token}"]


def _directives(site: SiteSettings, files: TlsFiles | None, run: str) -> dict[str, Any]:
    """Lines of the submit file beyond those of dask-jobqueue."""
    lines: dict[str, Any] = {f"MY.{RUN_ATTRIBUTE}": f'"{run}"'}
    lines["should_transfer_files"] = "YES" if site.transfer_files else "NO"
    if site.transfer_files:
        lines["when_to_transfer_output"] = "ON_EXIT"
        lines["transfer_output_files"] = '""'
        carried = [*(files or ())] if site.credentials == "transfer" else []
        carried += [site.token] if site.token is not None else []
        if carried:
            lines["transfer_input_files"] = ", ".join(map(str, carried))
    if site.image is not None and site.image_style == "container":
        lines["container_image"] = site.image
        if not site.transfer_files:  # else condor_submit adds the image to the files to transfer
            lines["transfer_container"] = False
    elif site.image is not None:
        lines["MY.SingularityImage"] = f'"{site.image}"'
    if site.request_gpus:
        lines["request_gpus"] = site.request_gpus
    lines[site.walltime_directive] = int(site.walltime.total_seconds())
    if site.proxy_path is not None:
        lines["x509userproxy"] = _word("the path of the proxy", str(site.proxy_path))
    for name in ("accounting_group", "accounting_group_user"):
        if getattr(site, name) is not None:
            lines[name] = getattr(site, name)
    if site.log_directory is not None:
        lines |= _logs(site, site.log_directory)
    lines |= {name: _directive(name, value) for name, value in site.directives.items()}
    return lines


def _logs(site: SiteSettings, directory: str) -> dict[str, Any]:
    """Where logs go; spooled jobs write their own, as the schedd cannot reach the directory."""
    spooled = {"output_destination": site.log_url} if site.spooled else {}
    name = (
        "worker-$(ClusterId).$(ProcId)" if spooled else f"{directory}/worker-$(ClusterId).$(ProcId)"
    )
    streamed = {"stream_output": True, "stream_error": True} if site.stream_logs else {}
    names = {"output": f"{name}.out", "error": f"{name}.err", "log": f"{name}.log"}
    return {**names, **streamed, **spooled}


def _directive(name: str, value: Any) -> Any:
    """Text of an attribute of the job is a string there, and so quoted."""
    own = name.startswith(("+", "MY."))
    return f'"{value}"' if own and isinstance(value, str) else value


def _known_address(site: SiteSettings) -> str:
    port = site.scheduler_port
    fixed = port.isdecimal() and port != "0"
    return f"{host_of(site)}:{port}" if fixed else _UNKNOWN


def host_of(site: SiteSettings) -> str:
    """Name or address under which the scheduler listens."""
    return socket.gethostname() if site.scheduler_host == "auto" else site.scheduler_host

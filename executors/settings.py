"""Where a run computes: kind of executor, workers, threads of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import loky

from executors.credentials import TlsFiles
from executors.errors import ConfigurationError
from executors.inputs.remote import client_settings

if TYPE_CHECKING:
    from executors.htcondor.sites import SiteSettings

__all__ = ["KINDS", "ExecutorKind", "ExecutorSettings", "available_cores"]

ExecutorKind = Literal["iterative", "futures", "dask", "htcondor", "casa"]
KINDS: tuple[str, ...] = get_args(ExecutorKind)
_SCHEMES = ("tcp://", "tls://")
CASA_ADDRESS = "tls://localhost:8786"
"""Where the notebooks of coffea-casa find their scheduler."""
CASA_VARIABLE = "FLASHBREW_CASA_ADDRESS"
"""Environment variable with another address of it."""
# coffea names every cross-reference that a NanoAOD version lacks, for every chunk; XRootD looks at
# every object of the process in the end, and wakes what torch has deprecated
QUIET = (
    "ignore::RuntimeWarning:coffea.nanoevents.schemas.nanoaod,"
    "ignore::FutureWarning:XRootD.client.finalize"
)
_BUDGET = "FLASHBREW_THREADS"  # what the project's own engines read
_LIBRARIES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass(frozen=True)
class ExecutorSettings:
    """Kind of executor and its size.

    Arguments:
        kind: ``iterative`` (this process), ``futures`` (processes of this machine), ``dask``,
            ``htcondor`` (Dask workers as jobs of ``site``) or ``casa`` (scheduler of coffea-casa).
        workers: Number of processes, or jobs; None for one per core. Without meaning for
            ``iterative`` and for a scheduler that is there already.
        threads: Compute threads of each worker; None for ``$FLASHBREW_THREADS``, else the cores
            shared by the workers.
        scheduler: Address of a running Dask scheduler; None starts one on 127.0.0.1, or for
            ``casa`` takes ``$FLASHBREW_CASA_ADDRESS``, else coffea-casa's own.
        tls: Credentials for a ``tls://`` scheduler; None for those of Dask's configuration.
        site: Settings of the batch site, for ``htcondor`` alone.
        insecure: Whether jobs may reach their scheduler without TLS.
        readers: Chunks that a worker of this machine takes at a time. More than one makes sense
            where a device computes for several threads; the worker then announces ``GPU=readers``.
    Raises: ConfigurationError for what cannot be done.
    """

    kind: ExecutorKind = "futures"
    workers: int | None = None
    threads: int | None = None
    scheduler: str | None = None
    tls: TlsFiles | None = None
    site: SiteSettings | None = None
    insecure: bool = False
    readers: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"--executor {self.kind!r} is unknown; choose from {', '.join(KINDS)}"
            raise ConfigurationError(msg)
        if self.kind == "casa" and self.scheduler is None:
            address = os.environ.get(CASA_VARIABLE) or CASA_ADDRESS
            object.__setattr__(self, "scheduler", address)
        complaint = self._size_complaint() or self._address_complaint()
        if complaint is not None:
            raise ConfigurationError(complaint)

    def _size_complaint(self) -> str | None:
        if self.workers is not None and self.workers < 1:
            return f"--workers must be at least 1, found {self.workers}"
        if self.threads is not None and self.threads < 1:
            return f"threads per worker must be at least 1, found {self.threads}"
        if self.readers < 1:
            return f"--readers must be at least 1, found {self.readers}"
        if self.readers > 1 and (self.kind != "dask" or self.scheduler is not None):
            return f"--readers {self.readers} needs --executor dask without --scheduler"
        if self.kind == "htcondor" and self.workers is None:
            return "--executor htcondor needs --workers N, the number of jobs"
        return None

    def _address_complaint(self) -> str | None:
        address, kind = self.scheduler, self.kind
        if address is not None and kind not in ("dask", "casa"):
            return f"--scheduler needs --executor dask or casa, found --executor {kind}"
        if address is not None and not address.startswith(_SCHEMES):
            return f"--scheduler must look like tcp://HOST:PORT or tls://, found {address!r}"
        if self.tls is not None and not (address or "").startswith("tls://"):
            return f"--tls-ca, --tls-cert, --tls-key need --scheduler tls://, found {address}"
        if self.site is not None and kind != "htcondor":
            return f"--site needs --executor htcondor, found --executor {kind}"
        if self.insecure and kind != "htcondor":
            return f"--insecure needs --executor htcondor, found --executor {kind}"
        return None

    @property
    def processes(self) -> int:
        """Number of worker processes that this run starts."""
        if self.kind == "iterative":
            return 1
        return self.workers or available_cores()

    @property
    def threads_per_worker(self) -> int:
        """Compute threads of each worker: N workers share the cores, none gets fewer than one."""
        if self.threads is not None:
            return self.threads
        if self.site is not None:
            return self.site.cores
        asked = os.environ.get(_BUDGET, "")
        if asked:
            if not asked.isdecimal() or int(asked) < 1:
                msg = f"environment variable {_BUDGET} must be a number of threads, found {asked!r}"
                raise ConfigurationError(msg)
            return int(asked)
        return max(1, available_cores() // self.processes)

    def environment(self) -> dict[str, str]:
        """Environment of a worker, to be set before its first numerical import."""
        threads = dict.fromkeys((_BUDGET, *_LIBRARIES), str(self.threads_per_worker))
        # a client has given itself this environment: its own filters may be there already
        filters = [*os.environ.get("PYTHONWARNINGS", "").split(","), *QUIET.split(",")]
        warnings = ",".join(filter(None, dict.fromkeys(filters)))
        return threads | client_settings() | {"PYTHONWARNINGS": warnings}


def available_cores() -> int:
    """Cores that this process may use: affinity and control groups are respected."""
    return int(loky.cpu_count())

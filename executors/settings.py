"""Where a run computes: kind of executor, workers, threads of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

import loky

from executors.errors import ConfigurationError

__all__ = ["KINDS", "ExecutorKind", "ExecutorSettings", "available_cores"]

ExecutorKind = Literal["iterative", "futures", "dask", "htcondor", "casa"]
KINDS: tuple[str, ...] = get_args(ExecutorKind)
_POOLS = ("htcondor", "casa")
# coffea names every cross-reference that a NanoAOD version lacks, for every chunk
QUIET = "ignore::RuntimeWarning:coffea.nanoevents.schemas.nanoaod"
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
        kind: ``iterative`` (this process), ``futures`` (processes of this machine) or ``dask``.
        workers: Number of processes; None for one per core. Without meaning for ``iterative``
            and for a scheduler that is there already.
        threads: Compute threads of each worker; None for ``$FLASHBREW_THREADS``, else the cores
            shared by the workers.
        scheduler: Address of a running Dask scheduler; None starts one on 127.0.0.1.
    Raises: ConfigurationError for what cannot be done.
    """

    kind: ExecutorKind = "futures"
    workers: int | None = None
    threads: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"--executor {self.kind!r} is unknown; choose from {', '.join(KINDS)}"
        elif self.kind in _POOLS:
            msg = (
                f"--executor {self.kind} is not supported yet; use iterative or futures here, "
                "or --executor dask --scheduler tcp://HOST:PORT for a pool that is running"
            )
        elif self.workers is not None and self.workers < 1:
            msg = f"--workers must be at least 1, found {self.workers}"
        elif self.threads is not None and self.threads < 1:
            msg = f"threads per worker must be at least 1, found {self.threads}"
        elif self.scheduler is not None and self.kind != "dask":
            msg = f"--scheduler needs --executor dask, found --executor {self.kind}"
        elif self.scheduler is not None and not self.scheduler.startswith("tcp://"):
            msg = f"--scheduler must look like tcp://HOST:PORT, found {self.scheduler!r}"
        else:
            return
        raise ConfigurationError(msg)

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
        filters = [os.environ["PYTHONWARNINGS"]] if os.environ.get("PYTHONWARNINGS") else []
        return threads | {"PYTHONWARNINGS": ",".join([*filters, QUIET])}


def available_cores() -> int:
    """Cores that this process may use: affinity and control groups are respected."""
    return int(loky.cpu_count())

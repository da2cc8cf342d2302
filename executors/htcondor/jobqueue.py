"""dask-jobqueue, imported so that Ctrl-C stays what it was.

Importing the package replaces the handler of SIGINT by one that raises SystemExit: a run stopped by
Ctrl-C would end without its report.
"""

from __future__ import annotations

import signal

_before = signal.getsignal(signal.SIGINT)
try:
    import dask_jobqueue
    from dask_jobqueue import HTCondorCluster
    from dask_jobqueue.htcondor import HTCondorJob
finally:
    signal.signal(signal.SIGINT, _before)

__all__ = ["HTCondorCluster", "HTCondorJob", "dask_jobqueue"]

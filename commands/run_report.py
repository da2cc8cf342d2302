"""The report of a run, on disk from the first chunk on and true whenever the run ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from executors.earlier import clear_results
from executors.errors import ConfigurationError
from executors.execution import RunResult
from executors.plan import Plan
from executors.report.build import NAME, RunDescription, build_report, write_report
from executors.results.lock import OutputLock
from executors.results.merging import MergedFiles
from executors.results.state import StateStore
from executors.resume import Resumption
from executors.settings import ExecutorSettings

__all__ = ["UNDRAWN", "RunReport"]

UNDRAWN = "not everything was compared and drawn; `report --redraw` does it"
UNFINISHED = "written before the first chunk; the run was killed, or goes on (see `report`)"


class RunReport:
    """Context manager that leaves a report behind however its body ends.

    The results of an earlier run, its report included, are kept until the workers are there.

    Arguments:
        description: What was asked for.
        plan: What will be done.
        settings: Where.
        earlier: Report that the output directory holds, None for a new one.
        lock: Lock of the output directory; nothing is written once it is lost.
        store: Results of chunks on disk.
        merged: Joined files of an earlier run.
        resumption: What of an earlier run is used again, None where that was not asked for.
    """

    def __init__(
        self,
        description: RunDescription,
        plan: Plan,
        settings: ExecutorSettings,
        earlier: Mapping[str, Any] | None,
        *,
        lock: OutputLock | None = None,
        store: StateStore | None = None,
        merged: MergedFiles | None = None,
        resumption: Resumption | None = None,
    ) -> None:
        self.description, self.plan, self.settings = description, plan, settings
        self.begun = False
        self._lock, self._store, self._resumption = lock, store, resumption
        self._merged = merged
        self.joined: dict[str, dict[str, int]] = {}
        """Counts of files, events and chunks joined, by dataset."""
        self._earlier = earlier
        self._result: RunResult | None = None

    def __enter__(self) -> RunReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        expected = isinstance(error, KeyboardInterrupt | Exception)
        if error is None or not expected or isinstance(error, ConfigurationError):
            return
        if self.begun or self._earlier is None:
            self.write(self._result or RunResult.stopped(self.plan, error), stopped=error)

    def begin(self) -> None:
        """Remove what an earlier run left and this one does not use; write a first report."""
        resumption = self._resumption or Resumption()
        keep = set(resumption.outputs)
        if self._merged is not None:
            self._merged.keep(keep)
            keep |= set(self._merged.files)
        clear_results(self.description.output, self._earlier, keep)
        if self._store is not None:
            self._store.clear({self._store.path(self.plan.items[i]) for i in resumption.records})
        self.begun = True
        unfinished = RunResult.stopped(self.plan, KeyboardInterrupt("the run has not ended"))
        self.write(unfinished, notes=[UNFINISHED], finished=False)
        self._result = None

    def write(
        self,
        result: RunResult,
        *,
        validation: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        failed: bool = False,
        stopped: BaseException | None = None,
        finished: bool = True,
    ) -> dict[str, Any]:
        """Write the report of a result, return it.

        Arguments:
            stopped: What ended the run after the result was there.
            finished: Whether the run has ended.
        Raises: ConfigurationError where another run took the directory over.
        """
        if self._lock is not None:
            self._lock.require()
        self._result = result
        if stopped is not None:
            interrupted = isinstance(stopped, KeyboardInterrupt)
            result = dataclasses.replace(result, interrupted=interrupted, error=stopped)
        report = build_report(
            self.description,
            self.plan,
            self.settings,
            result,
            validation=validation,
            notes=notes,
            failed=failed,
            resumption=self._resumption and self._resumption.summary(),
            finished=finished,
            joined=self.joined,
        )
        write_report(self.description.output / NAME, report)
        return report

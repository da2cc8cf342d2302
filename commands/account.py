"""The report of a run, on disk from the first chunk on and true whenever the run ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from executors.earlier import clear_results
from executors.errors import ConfigurationError
from executors.execution import RunResult
from executors.plan import Plan
from executors.report import NAME, RunDescription, build_report, write_report
from executors.settings import ExecutorSettings

__all__ = ["Account"]

UNFINISHED = "written before the first chunk; the run was killed, or goes on"


class Account:
    """Context manager that leaves a report behind however its body ends.

    The results of an earlier run, its report included, are kept until the workers are there.

    Arguments:
        description: What was asked for.
        plan: What will be done.
        settings: Where.
        earlier: Report that the output directory holds, None for a new one.
    """

    def __init__(
        self,
        description: RunDescription,
        plan: Plan,
        settings: ExecutorSettings,
        earlier: Mapping[str, Any] | None,
    ) -> None:
        self.description, self.plan, self.settings = description, plan, settings
        self.begun = False
        self._earlier = earlier
        self._result: RunResult | None = None

    def __enter__(self) -> Account:
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
        """Remove what an earlier run left; write the report of a run that was killed."""
        clear_results(self.description.output, self._earlier)
        self.begun = True
        unfinished = RunResult.stopped(self.plan, KeyboardInterrupt("the run has not ended"))
        self.write(unfinished, notes=[UNFINISHED])
        self._result = None

    def write(
        self,
        result: RunResult,
        *,
        validation: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        failed: bool = False,
        stopped: BaseException | None = None,
    ) -> dict[str, Any]:
        """Write the report of a result, return it.

        Arguments:
            stopped: What ended the run after the result was there.
        """
        self._result = result
        if stopped is not None:
            interrupted = isinstance(stopped, KeyboardInterrupt)
            result = RunResult(
                result.accumulator, result.ledger, result.seconds, interrupted, stopped
            )
        report = build_report(
            self.description,
            self.plan,
            self.settings,
            result,
            validation=validation,
            notes=notes,
            failed=failed,
        )
        write_report(self.description.output / NAME, report)
        return report

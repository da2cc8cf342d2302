"""Results copied to an XRootD server when a run has ended, told in its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.report.build import NAME, write_report

if TYPE_CHECKING:
    from executors.results.copying import Destination

__all__ = ["copy_results"]


def copy_results(
    destination: Destination, output: Path, report: Mapping[str, Any]
) -> dict[str, Any]:
    """Copy what a run made, the report last; return the report with its section ``copied``.

    What could not be copied is named there; the exit status is then 1, the results on disk are
    whole.
    """
    from executors.results.copying import results_of

    copied = destination.copy(output, [name for name in results_of(output) if name != NAME])
    told = _told(destination, output, report, copied.files, copied.size, copied.failed)
    last = destination.copy(output, [NAME])
    if last.failed:
        failed = [*copied.failed, *last.failed]
        told = _told(destination, output, report, copied.files, copied.size, failed)
    return told


def _told(
    destination: Destination,
    output: Path,
    report: Mapping[str, Any],
    files: int,
    size: int,
    failed: list[tuple[str, str]],
) -> dict[str, Any]:
    """Write the report with what became of the copies."""
    section = {
        "to": destination.url,
        "files": files,
        "bytes": size,
        "failed": [{"file": name, "reason": reason} for name, reason in failed],
    }
    told = {**report, "copied": section}
    if failed:
        name, reason = failed[0]
        note = (
            f"{len(failed):,} files were not copied to {destination.url} (the first: {name}, "
            f"{reason}); the same command with --resume copies again, without computing"
        )
        told["notes"] = [note, *report["notes"]]
        told["exit"] = {**report["exit"], "status": 1}
    write_report(output / NAME, told)
    return told

"""What an earlier run left: recognised by its report, removed where that lists it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from executors.errors import ConfigurationError
from executors.report.build import NAME as REPORT
from executors.report.build import read_report
from executors.results.histograms import NAME as HISTOGRAMS
from executors.results.output import relative_output, sweep

__all__ = ["clear_results", "earlier_report", "pictures"]

PLOTS = "plots"
_FOLDERS = ("events", "tables", PLOTS)


def earlier_report(directory: Path) -> dict[str, Any] | None:
    """Report of the run that filled ``directory``, None where no run did.

    Raises: ConfigurationError for results that no report of this project accounts for: they may be
        somebody's, and a run would replace them.
    """
    if (directory / REPORT).exists():
        try:
            return read_report(directory)
        except ConfigurationError as error:
            msg = f"--output {directory} is not the output of a run ({error}); choose another"
            raise ConfigurationError(msg) from error
    found = [HISTOGRAMS] if (directory / HISTOGRAMS).exists() else []
    found += [name for name in _FOLDERS if _filled(directory / name)]
    if found:
        msg = (
            f"--output {directory} holds {found[0]} but no {REPORT} that says which run made it; "
            "choose another --output, or move it away"
        )
        raise ConfigurationError(msg)
    return None


def clear_results(
    directory: Path, report: Mapping[str, Any] | None, keep: Collection[str] = ()
) -> None:
    """Remove what the run of ``report`` wrote, so that nothing old stands beside a new run.

    Pictures and outputs are removed where the report lists them, chunk files also by their names,
    which no one else gives. The report itself is left to be replaced.

    Arguments:
        directory: Output directory.
        report: What an earlier run left, None for nothing.
        keep: Outputs to leave alone, relative to the directory.
    """
    if report is None:
        return
    (directory / HISTOGRAMS).unlink(missing_ok=True)
    for path in _listed(directory, report):
        if relative_output(path, directory) not in keep:
            path.unlink(missing_ok=True)
    sweep(directory, keep)


def pictures(directory: Path) -> dict[str, int]:
    """Times of change, in nanoseconds, of every picture below ``plots/``, by relative path."""
    found = sorted((directory / PLOTS).rglob("*.png"))
    return {path.relative_to(directory).as_posix(): path.stat().st_mtime_ns for path in found}


def _filled(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _listed(directory: Path, report: Mapping[str, Any]) -> Iterator[Path]:
    """Files inside ``directory`` that a report lists; a path that leads out of it is left alone."""
    names: list[tuple[Path, Any]] = [
        (directory, name) for data in report["datasets"].values() for name in data["outputs"]
    ]
    drawn = (report.get("validation") or {}).get(PLOTS)
    names += [(directory / PLOTS, name) for name in (drawn if isinstance(drawn, list) else [])]
    for base, name in names:
        path = directory / str(name)
        if path.is_file() and path.resolve().is_relative_to(base.resolve()):
            yield path

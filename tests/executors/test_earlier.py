"""Results of an earlier run in the output directory."""

from __future__ import annotations

import json

import pytest

from executors.earlier import clear_results, earlier_report, pictures
from executors.errors import ConfigurationError
from executors.execution import RunResult
from executors.plan import Plan
from executors.report.build import RunDescription, build_report
from executors.settings import ExecutorSettings

UUID = "1825cd4a-2943-11f1-9dd5-001a4abb4031"


def fill(directory, *names):
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


def report_of(outputs=(), plots=()):
    return {
        "schema": 1,
        "datasets": {"mc": {"outputs": list(outputs)}},
        "validation": {"plots": list(plots)},
    }


def left(directory):
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def test_only_what_a_report_lists_is_cleared(tmp_path):
    out = tmp_path / "out"
    theirs = ["events/mc/joined.root", "plots/mc/pt.png", "plots/eta.png", "histograms.json"]
    mine = ["plots/mine.png", "plots/mc/thesis.png", "plots/pt.pdf", "events/mc/own.root"]
    fill(out, *theirs, *mine, f"events/mc/{UUID}_0-100.root")
    fill(tmp_path, "plots/outside.png", "outside.root")
    report = report_of(
        outputs=["events/mc/joined.root", "../outside.root"],
        plots=["plots/mc/pt.png", "plots/eta.png", "../plots/outside.png", "events/mc/own.root"],
    )
    clear_results(out, report)
    assert left(out) == sorted(mine)
    assert (tmp_path / "outside.root").exists()
    assert (tmp_path / "plots" / "outside.png").exists()


def test_without_a_report_nothing_is_cleared(tmp_path):
    fill(tmp_path, "plots/mine.png", "histograms.json", f"events/mc/{UUID}_0-100.root")
    before = left(tmp_path)
    clear_results(tmp_path, None)
    assert left(tmp_path) == before


def test_a_directory_with_a_report_is_known(tmp_path):
    assert earlier_report(tmp_path) is None
    fill(tmp_path, "notes.txt", "events/mc/x.root")
    report = build_report(
        RunDescription({"name": "toy", "class": "toy"}, {}, tmp_path, seed=1),
        Plan.nothing(),
        ExecutorSettings("iterative"),
        RunResult.stopped(Plan.nothing(), KeyboardInterrupt()),
    )
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert earlier_report(tmp_path) == report


@pytest.mark.parametrize(
    "name", ["report.json", "histograms.json", "events/a.root", "tables/a.npz", "plots/a.png"]
)
def test_results_of_somebody_else_are_refused(name, tmp_path):
    fill(tmp_path, name)
    with pytest.raises(ConfigurationError, match=r"^--output .*choose another"):
        earlier_report(tmp_path)


def test_pictures_are_found_by_relative_path(tmp_path):
    fill(tmp_path, "plots/a.png", "plots/mc/b.png", "plots/c.pdf", "d.png")
    assert list(pictures(tmp_path)) == ["plots/a.png", "plots/mc/b.png"]

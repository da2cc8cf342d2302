"""Showing a report again."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def finished(flashbrew, processors, sample, tmp_path):
    output = tmp_path / "out"
    arguments = (f"{processors}:Comparing", "--executor", "iterative", sample[0])
    assert flashbrew(*arguments, "--output", output)[0] == 0
    return output


def test_a_finished_run_is_shown_again(flashbrew, finished):
    for place in (finished, finished / "report.json"):
        status, out, _ = flashbrew("report", place)
        assert status == 0
        for words in ("input", "250", "GenPart", "exit status 0"):
            assert words in out


@pytest.mark.parametrize("text", ['{"schema": 1}', '{"schema": 1, "datasets": {"input": {}}}'])
def test_a_damaged_report_is_one_sentence_for_all_who_read_it(
    flashbrew, finished, processors, sample, text
):
    (finished / "report.json").write_text(text)
    status, _, err = flashbrew("report", finished)
    assert (status, err.count("\n")) == (2, 1)
    assert "report.json is damaged: " in err
    run = (f"{processors}:Comparing", "--executor", "iterative", sample[0])
    status, _, err = flashbrew(*run, "--output", finished)
    assert (status, "is not the output of a run" in err) == (2, True), err


def test_a_built_in_processor_draws_again(flashbrew, finished, processors, monkeypatch):
    path = finished / "report.json"
    report = json.loads(path.read_text())
    report["processor"]["name"] = "comparing"
    report["validation"] = None
    path.write_text(json.dumps(report))
    monkeypatch.setattr("processors.BUILTIN", {"comparing": f"{processors}:Comparing"})
    status, out, _ = flashbrew("report", finished, "--redraw")
    assert status == 0
    assert "GenPart" in out
    again = json.loads(path.read_text())
    assert again["validation"]["distances"][0]["entries"] == 750


def test_drawing_again_needs_no_bundle_and_no_directory(
    flashbrew, processors, sample, tmp_path, monkeypatch
):
    monkeypatch.setattr("processors.BUILTIN", {"bundled": f"{processors}:Bundled"})
    monkeypatch.chdir(tmp_path)
    bundle, picture = tmp_path / "bundle", tmp_path / "out" / "plots" / "one.png"
    bundle.touch()
    run = ("bundled", "--executor", "iterative", "--bundle", "bundle", "--output", "out")
    assert flashbrew(*run, sample[0])[0] == 0
    bundle.unlink()
    monkeypatch.chdir("/")
    for place in (tmp_path / "out", tmp_path / "out" / "report.json"):
        picture.unlink()
        status, out, err = flashbrew("report", place, "--redraw")
        assert status == 0, err
        assert f"drawn again: {tmp_path / 'out' / 'plots'}" in out
        assert picture.read_text() == "red"


def test_a_report_may_not_name_code(flashbrew, finished):
    status, _, err = flashbrew("report", finished, "--redraw")
    assert status == 2
    assert "not built in" in err


def test_no_report(flashbrew, tmp_path):
    status, _, err = flashbrew("report", tmp_path)
    assert status == 2
    assert "no report at" in err
    assert "Traceback" not in err

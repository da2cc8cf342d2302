"""Running a processor from the command line: exit statuses, messages, what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.commands.running import LOCAL, read


def test_a_good_run(flashbrew, processors, sample, output):
    status, out, err = flashbrew(
        f"{processors}:Comparing", *LOCAL, "--chunksize", 100, *sample, "--output", output
    )
    assert status == 0
    report = read(output)
    assert report["exit"]["status"] == 0
    assert report["datasets"]["input"]["events"]["written"] == 380
    assert report["arguments"]["inputs"] == [str(path) for path in sample]
    assert report["validation"]["distances"][0]["entries"] == 3 * 380
    assert len(json.loads((output / "histograms.json").read_text())) == 2
    written = sorted(str(p.relative_to(output)) for p in (output / "events").glob("*/*.root"))
    assert written == report["datasets"]["input"]["outputs"]
    assert len(written) == 5
    for words in ("380", "GenPart", "exit status 0", str(output)):
        assert words in out
    assert "flashbrew:" not in err


def test_good_files_beside_bad_ones_are_processed(flashbrew, processors, sample, output, tmp_path):
    junk = tmp_path / "junk.root"
    junk.write_bytes(os.urandom(3000).replace(b"root", b"tree"))
    config = tmp_path / "config.yaml"
    config.write_text("fail_at: 260\n")
    status, _, err = flashbrew(
        f"{processors}:Counting",
        *LOCAL,
        junk,
        *sample,
        "--config",
        config,
        "--output",
        output,
    )
    assert status == 3
    data = read(output)["datasets"]["input"]
    assert [file["file"] for file in data["unknown_files"]] == [str(junk)]
    assert data["failures"][0]["file"] == str(sample[1])
    assert f"{junk} is not a ROOT file" in err
    assert f"1 chunk failed: OSError: the disk went away [{sample[1]} entries 0-130]" in err
    assert "Traceback" not in err
    outputs = [path.name for path in (output / "events").glob("*/*")]
    assert len(outputs) == 1


@pytest.mark.parametrize("extra", [["--max-failed-fraction", "0.4"], []])
def test_too_many_failures(flashbrew, processors, sample, output, extra):
    status, _, _ = flashbrew(
        f"{processors}:Counting", *LOCAL, sample[0], "/absent.root", "--output", output, *extra
    )
    assert status == (4 if extra else 3)
    assert read(output)["exit"]["status"] == status


def test_nothing_done(flashbrew, processors, output):
    status, out, err = flashbrew(
        f"{processors}:Counting", *LOCAL, "/absent.root", "--output", output
    )
    assert status == 4
    assert read(output)["datasets"]["input"]["files"] == {"planned": 1, "unknown": 1}
    assert "/absent.root does not exist" in err
    assert "exit status 4" in out


def test_a_fileset(flashbrew, processors, sample, output, tmp_path):
    fileset = tmp_path / "fileset.json"
    described = {"object_path": "Events", "steps": [[10, 60], [200, 250]]}
    fileset.write_text(json.dumps({"ttbar": {"files": {str(sample[0]): described}}}))
    arguments = (f"{processors}:Counting", *LOCAL, "--fileset", fileset, "--output", output)
    assert flashbrew(*arguments, "--chunksize", 30)[0] == 0
    data = read(output)["datasets"]["ttbar"]
    assert data["events"]["read"] == 100
    assert data["counters"]["event numbers"] == sum([*range(10, 60), *range(200, 250)])
    fileset.write_text(json.dumps({"ttbar": {"fils": [str(sample[0])]}}))
    status, _, err = flashbrew(*arguments)
    assert status == 2
    assert "unknown key 'fils'; did you mean 'files'?" in err
    status, _, err = flashbrew(*arguments, sample[0])
    assert status == 2
    assert "INPUT or --fileset, not both" in err


def test_a_failure_after_the_last_chunk_keeps_the_report(flashbrew, processors, sample, output):
    status, _, err = flashbrew(f"{processors}:Broken", *LOCAL, sample[0], "--output", output)
    assert status == 1
    assert "comparing and drawing failed: ZeroDivisionError" in err
    assert "Traceback" not in err
    report = read(output)
    assert report["exit"]["status"] == 1
    assert report["datasets"]["input"]["chunks"]["done"] == 1
    assert "ZeroDivisionError" in report["notes"][0]


def test_verbose_shows_where(flashbrew, processors, sample, output):
    _, _, err = flashbrew(f"{processors}:Broken", *LOCAL, sample[0], "--output", output, "-v")
    assert "Traceback" in err


@pytest.mark.parametrize(("inputs", "status"), [(["good"], 0), (["good", "bad"], 3), (["bad"], 4)])
def test_a_dry_run_writes_nothing(flashbrew, processors, sample, output, inputs, status):
    names = {"good": sample[0], "bad": "/absent.root"}
    found, out, _ = flashbrew(
        f"{processors}:Counting",
        *(names[name] for name in inputs),
        "--chunksize",
        100,
        "--dry-run",
        "--output",
        output,
    )
    assert found == status
    events = 250 if "good" in inputs else 0
    assert f"{events} events in {-(-events // 100)} chunks of 100" in out
    assert not output.exists()


def test_limits(flashbrew, processors, sample, output):
    arguments = (f"{processors}:Counting", *LOCAL, *sample, "--output", output)
    assert flashbrew(*arguments, "--chunksize", 100, "--max-chunks", 2)[0] == 0
    assert read(output)["datasets"]["input"]["events"]["planned"] == 200
    assert flashbrew(*arguments, "--max-files", 1)[0] == 0
    assert read(output)["datasets"]["input"]["events"]["planned"] == 250
    assert flashbrew(*arguments, "--test", "--chunksize", 60)[0] == 0
    assert read(output)["datasets"]["input"]["events"]["planned"] == 120


def test_list_describes_what_is_built_in(flashbrew):
    from processors import BUILTIN

    status, out, _ = flashbrew("--list")
    assert status == 0
    assert all(name in out for name in BUILTIN)
    assert "block_events [25000]: events" in out
    assert "histograms [true]: fill the validation histograms" in out


def test_help_is_quick(repository):
    code = (
        "import sys, run_processor\n"
        "try: run_processor.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('coffea', 'torch', 'dask', 'awkward') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")
    assert "exit status:" in done.stdout

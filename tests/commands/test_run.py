"""Running a processor from the command line: exit statuses, messages, what is written."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from jsonschema import Draft202012Validator

from executors.lock import OutputLock
from executors.report import SCHEMA

LOCAL = ("--executor", "iterative")


def read(output):
    report = json.loads((output / "report.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    return report


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


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


def test_nothing_is_left_of_an_earlier_run(flashbrew, processors, sample, output):
    first = (f"{processors}:Counting", *LOCAL, *sample, "--output", output)
    assert flashbrew(*first, "--chunksize", 50)[0] == 0
    assert len(list((output / "events" / "input").iterdir())) == 8
    assert flashbrew(*first, "--chunksize", 200)[0] == 0
    assert len(list((output / "events" / "input").iterdir())) == 3
    assert not list(output.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "htcondor"], "--executor htcondor needs --workers N"),
        (["--site", "lxplus"], "--site needs --executor htcondor"),
        (["--insecure"], "--insecure needs --executor htcondor"),
        (["--dask-report"], "--dask-report needs --executor dask"),
        (["--retries", "-1"], "--retries must be at least 0"),
        (["--retry-delay", "nan"], "--retry-delay must be a number of seconds"),
        (["--merge", "all"], "invalid choice: 'all'"),
        (["--max-failed-fraction", "2"], "must lie in [0, 1]"),
        (["--chunksize", "0"], "--chunksize must be at least 1"),
        (["--max-files", "0"], "--max-files must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--scheduler", "tcp://h:1", "--executor", "futures"], "needs --executor dask"),
        (["--config", "/absent.yaml"], "configuration /absent.yaml cannot be read"),
        (["--chunksize", "many"], "invalid int value"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_bad_arguments(flashbrew, processors, sample, output, arguments, message):
    status, _, err = flashbrew(
        f"{processors}:Counting", sample[0], "--output", output, *LOCAL, *arguments
    )
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not output.exists()


def test_a_missing_processor_output_or_input(flashbrew, processors, output):
    assert "--list shows" in flashbrew("--output", output)[2]
    assert "--output" in flashbrew(f"{processors}:Counting")[2]
    status, _, err = flashbrew(f"{processors}:Counting", *LOCAL, "--output", output)
    assert status == 2
    assert "ships no sample: name INPUT files or a --fileset" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fail_at: [", "is not YAML"),
        ("- 1", "must be a mapping"),
        ("colour: red", "cannot be built"),
    ],
)
def test_a_bad_configuration(flashbrew, processors, sample, output, tmp_path, content, message):
    config = tmp_path / "config.yaml"
    config.write_text(content)
    status, _, err = flashbrew(
        f"{processors}:Counting", *LOCAL, sample[0], "--output", output, "--config", config
    )
    assert status == 2
    assert message in err


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


def test_an_output_that_cannot_be_written(flashbrew, processors, sample, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", "/proc/flashbrew"):
        status, _, err = flashbrew(f"{processors}:Counting", *LOCAL, sample[0], "--output", place)
        assert status == 2
        assert err.count("\n") == 1
        assert "--output" in err


def test_an_output_in_use_is_left_alone(flashbrew, processors, sample, output):
    arguments = (f"{processors}:Counting", *LOCAL, sample[0], "--output", output)
    assert flashbrew(*arguments)[0] == 0
    before = (output / "report.json").read_bytes()
    with OutputLock(output):
        status, _, err = flashbrew(*arguments)
    assert status == 2
    assert "is in use by process" in err
    assert (output / "report.json").read_bytes() == before


def test_a_wrong_scheduler_costs_no_earlier_result(
    flashbrew, processors, sample, output, monkeypatch
):
    arguments = (f"{processors}:Counting", sample[0], "--output", output)
    assert flashbrew(*arguments, *LOCAL)[0] == 0
    monkeypatch.setattr("executors.cluster.CONNECT_TIMEOUT", 0.5)
    wrong = ("--executor", "dask", "--scheduler", "tcp://127.0.0.1:1")
    status, _, err = flashbrew(*arguments, *wrong)
    assert status == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in err
    assert (output / "report.json").exists()


def test_an_input_below_the_output_is_not_deleted(flashbrew, processors, sample, output):
    arguments = (f"{processors}:Counting", *LOCAL, "--output", output)
    assert flashbrew(*arguments, sample[0])[0] == 0
    written = next((output / "events" / "input").iterdir())
    written.write_bytes(sample[0].read_bytes())
    status, _, err = flashbrew(*arguments, output / "events")
    assert status == 2
    assert "lies in the output directory" in err
    assert written.exists()


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


def test_an_interrupt_is_reported(flashbrew, processors, sample, output, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("fail_at: 120\naction: interrupt\n")
    arguments = (f"{processors}:Comparing", *LOCAL, sample[0], "--output", output)
    status, out, _ = flashbrew(*arguments, "--chunksize", 100, "--config", config)
    assert status == 130
    report = read(output)
    assert report["exit"]["interrupted"]
    assert report["datasets"]["input"]["chunks"] == {
        "planned": 3,
        "done": 1,
        "reused": 0,
        "retried": 0,
        "failed": 2,
    }
    assert report["validation"] is None
    assert "interrupted; report.json" in out


def test_an_interrupt_while_drawing_keeps_the_report(
    flashbrew, processors, sample, output, tmp_path
):
    config = tmp_path / "config.yaml"
    config.write_text("after_drawing: interrupt\n")
    arguments = (f"{processors}:Drawing", *LOCAL, sample[0], "--output", output)
    status, out, err = flashbrew(*arguments, "--config", config)
    assert status == 130
    assert "interrupted; report.json" in out
    assert "Traceback" not in err
    report = read(output)
    assert report["exit"]["status"] == 130
    assert report["datasets"]["input"]["chunks"]["done"] == 1
    assert report["validation"]["plots"] == ["plots/theirs.png"]
    assert "report --redraw" in report["notes"][-1]


def test_an_interrupt_while_planning_is_reported(
    flashbrew, processors, sample, output, monkeypatch
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    arguments = (f"{processors}:Counting", *LOCAL, sample[0], "--output", output)
    with monkeypatch.context() as patched:
        patched.setattr("executors.plan.inspect_file", interrupt)
        patched.setattr("executors.plan.plan_fileset", interrupt)
        assert flashbrew(*arguments)[0] == 130
    report = read(output)
    assert report["exit"]["interrupted"]
    assert report["exit"]["status"] == 130
    assert flashbrew(*arguments)[0] == 0
    before = (output / "report.json").read_bytes()
    monkeypatch.setattr("executors.plan.plan_fileset", interrupt)
    assert flashbrew(*arguments)[0] == 130
    assert (output / "report.json").read_bytes() == before  # the results it tells of are there


@pytest.mark.parametrize("where", ["executors.plan.plan_fileset", "executors.execution._runner"])
def test_an_internal_error_is_reported(flashbrew, processors, sample, output, where, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of luck")  # noqa: EM101

    monkeypatch.setattr(where, fail)
    status, _, err = flashbrew(f"{processors}:Counting", *LOCAL, sample[0], "--output", output)
    assert status == 1
    assert "out of luck" in err
    assert read(output)["exit"] == {
        "status": 1,
        "finished": True,
        "interrupted": False,
        "error": "RuntimeError: out of luck",
        "max_failed_fraction": 1.0,
        "failed_fraction": 0.0 if "plan" in where else 1.0,
    }


def test_a_killed_run_has_a_report(repository, processors, sample, output, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("fail_at: 120\naction: die\n")
    command = [sys.executable, "run_processor.py", f"{processors}:Counting", str(sample[0])]
    command += [*LOCAL, "--chunksize", "100", "--config", str(config), "--output", str(output)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    report = read(output)
    assert report["exit"]["status"] == 130
    assert "the run was killed" in report["notes"][-1]


def test_pictures_of_the_user_stay(flashbrew, processors, sample, output):
    arguments = (*LOCAL, sample[0], "--output", output)
    assert flashbrew(f"{processors}:Drawing", *arguments)[0] == 0
    theirs, mine = output / "plots" / "theirs.png", output / "plots" / "deep" / "mine.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert theirs.exists()
    assert flashbrew(f"{processors}:Counting", *arguments)[0] == 0
    assert mine.read_bytes() == b"mine"
    assert not theirs.exists()


def test_results_of_somebody_else_are_left_alone(flashbrew, processors, sample, output):
    output.mkdir()
    (output / "report.json").write_text('{"year": 2018}')
    arguments = (f"{processors}:Counting", *LOCAL, sample[0], "--output", output)
    status, _, err = flashbrew(*arguments)
    assert status == 2
    assert "is not the output of a run" in err
    assert err.count("\n") == 1
    assert (output / "report.json").read_text() == '{"year": 2018}'
    assert [path.name for path in output.iterdir()] == ["report.json"]


def test_outputs_that_replace_each_other_are_an_error(flashbrew, processors, sample, output):
    arguments = (*LOCAL, *sample, "--output", output)
    status, out, _ = flashbrew(f"{processors}:Overwriting", *arguments)
    assert status == 1
    assert "written by more than one chunk" in out
    assert read(output)["exit"]["status"] == 1


def test_datasets_in_one_folder_are_refused(
    flashbrew, processors, sample, output, tmp_path, monkeypatch
):
    fileset = tmp_path / "fileset.json"
    fileset.write_text(json.dumps({"a=b": [str(sample[0])], "a_b": [str(sample[0])]}))
    arguments = (f"{processors}:Counting", *LOCAL, "--fileset", fileset, "--output", output)
    assert flashbrew(*arguments)[0] == 0
    monkeypatch.setattr("processors.folders.dataset_folder", lambda name: name.replace("=", "_"))
    status, _, err = flashbrew(*arguments)
    assert status == 2
    assert "'a=b' and 'a_b' would both be written" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-5"], "seed: Input should be greater than or equal to 0"),
        (["--seed", 2**63], "seed: Input should be less than"),
        (["--oversample", "0"], "oversample: Input should be greater than or equal to 1"),
    ],
)
def test_numbers_out_of_range(flashbrew, processors, sample, output, arguments, message):
    run = (f"{processors}:Counting", sample[0], "--output", output, *LOCAL)
    status, _, err = flashbrew(*run, *arguments)
    assert status == 2
    assert message in err
    assert not output.exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--seed", "2"),
        ("--oversample", "5"),
        ("--format", "parquet"),
        ("--device", "cpu"),
        ("--bundle", "/absent"),
        ("--bundle-digest", "0" * 64),
        ("--config", "empty.yaml"),
    ],
)
def test_options_that_a_processor_would_never_see_are_refused(
    flashbrew, processors, sample, output, option, tmp_path
):
    (tmp_path / "empty.yaml").touch()
    value = str(tmp_path / option[1]) if option[0] == "--config" else option[1]
    run = (sample[0], "--output", output, *LOCAL, option[0], value)
    status, _, err = flashbrew(f"{processors}:Physicist", *run)
    assert status == 2
    assert f"Physicist has no class method from_options(options) that would take {option[0]}" in err
    status, _, err = flashbrew("extraction", *run)
    if option[0] in ("--seed", "--config"):
        assert "no use for" not in err
    else:
        assert status == 2
        assert f"extraction has no use for {option[0]}" in err


def test_options_at_their_default_may_be_given(flashbrew, processors, sample, output):
    run = (f"{processors}:Physicist", sample[0], "--output", output, *LOCAL)
    defaults = ("--seed", 1, "--format", "root", "--oversample", 1, "--device", "auto")
    assert flashbrew(*run, *defaults)[0] in (0, 4)
    assert read(output)["seed"] == 1


def test_a_device_that_is_not_there_is_a_bad_argument(flashbrew, processors, sample, output):
    status, _, err = flashbrew(f"{processors}:Elsewhere", sample[0], "--output", output, *LOCAL)
    assert status == 2
    assert "device 'cuda' is not available here" in err
    assert not output.exists()


def test_the_file_of_a_configuration_may_set_everything(
    flashbrew, processors, sample, output, tmp_path
):
    config = tmp_path / "config.yaml"
    config.write_text(f"seed: 7\nformat: none\nfail_at: 5\noutput: {output}\n")
    run = (f"{processors}:Counting", *LOCAL, "--chunksize", 100, sample[0], "--config", config)
    assert flashbrew(*run)[0] == 3
    report = read(output)
    assert report["seed"] == 7
    assert report["arguments"]["format"] == "none"
    assert not (output / "events").exists()
    other = tmp_path / "other"
    assert flashbrew(*run, "--seed", 1, "--format", "root", "--output", other)[0] == 3
    report = read(other)
    assert report["seed"] == 1
    assert len(list((other / "events").glob("*/*"))) == 2
    config.write_text("fail_at: 5\n")
    status, _, err = flashbrew(*run)
    assert status == 2
    assert "--output" in err


def test_the_projects_own_yaml_is_read_back(flashbrew, sample, tmp_path):
    from processors.extraction import ExtractionConfig

    config = tmp_path / "config.yaml"
    config.write_text(ExtractionConfig(seed=3, block_events=11).to_yaml())
    run = ("extraction", sample[0], "--dry-run", "--config", config)
    assert flashbrew(*run)[0] == 0
    config.write_text(config.read_text() + "colour: red\n")
    status, _, err = flashbrew(*run)
    assert status == 2
    assert "colour" in err


def test_paths_in_a_report_are_absolute(flashbrew, processors, sample, tmp_path, monkeypatch):
    monkeypatch.chdir(sample[0].parent)
    config, fileset, output = (tmp_path / name for name in ("c.yaml", "f.json", "out"))
    config.touch()
    fileset.write_text(json.dumps({"mc": [sample[0].name]}))
    relative = (os.path.relpath(path) for path in (config, output))
    run = (f"{processors}:Counting", *LOCAL, "--bundle", "b", "--config", *relative)
    run = (*run[:-1], "--output", run[-1])
    assert flashbrew(*run, sample[0].name)[0] == 0
    arguments = read(output)["arguments"]
    assert arguments["inputs"] == [str(sample[0])]
    assert arguments["bundle"] == [str(sample[0].parent / "b")]
    paths = [os.path.normpath(arguments[name]) for name in ("config", "output")]
    assert paths == [str(config), str(output)]
    assert all(os.path.isabs(arguments[name]) for name in ("config", "output"))
    assert flashbrew(*run, "--fileset", os.path.relpath(fileset))[0] == 0
    assert os.path.isabs(read(output)["arguments"]["fileset"])


SIGNALS = [
    ("iterative", 1, signal.SIGTERM),
    ("futures", 1, signal.SIGINT),
    ("futures", 2, signal.SIGTERM),
    ("dask", 2, signal.SIGINT),
]


@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize(("executor", "workers", "number"), SIGNALS)
def test_a_run_that_is_stopped_ends_soon_and_goes_on(
    repository, flashbrew, processors, sample, output, tmp_path, executor, workers, number
):
    # of two Dask workers one is idle: that one prints a traceback unless it is told not to
    config = tmp_path / "config.yaml"
    config.write_text(f"fail_at: 120\naction: sleep\nonce: {tmp_path}\n")
    run = [f"{processors}:Counting", str(sample[0]), "--chunksize", "100", "--output", str(output)]
    run += ["--config", str(config)]
    command = [sys.executable, "run_processor.py", *run, "--executor", executor]
    started = subprocess.Popen(
        [*command, "--workers", str(workers)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that runs in the background of a shell has SIGINT ignored, and children inherit it
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 90
    while not (tmp_path / "100").exists() and started.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    stopped = time.monotonic()
    os.killpg(started.pid, number)  # as a terminal or a batch system does: client and workers
    out, err = started.communicate(timeout=60)
    assert time.monotonic() - stopped < 10, "this is promised"
    assert started.returncode == 130, err
    for word in ("Traceback", "distributed", "CommClosedError"):
        assert word not in err
    assert "interrupted" in out
    done = read(output)["datasets"]["input"]["chunks"]["done"]
    assert done in range(1, workers + 1)
    assert not (output / ".flashbrew.lock").exists()
    assert flashbrew(*run, *LOCAL, "--resume")[0] == 0
    chunks = read(output)["datasets"]["input"]["chunks"]
    assert chunks["done"] == 3
    assert chunks["reused"] >= done


def test_two_runs_at_once(repository, flashbrew, processors, sample, output, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"fail_at: 120\naction: sleep\nonce: {tmp_path}\n")
    run = [f"{processors}:Counting", str(sample[0]), "--chunksize", "100", "--output", str(output)]
    run += ["--config", str(config), *LOCAL]
    command = [sys.executable, "run_processor.py", *run]
    first = subprocess.Popen(command, cwd=repository, stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "100").exists():
            assert first.poll() is None
            time.sleep(0.1)
        before = (output / "report.json").read_bytes()
        status, _, err = flashbrew(*run, "--resume")
        assert status == 2
        assert f"is in use by process {first.pid} on" in err
        assert err.count("\n") == 1
        assert (output / "report.json").read_bytes() == before
        status, out, _ = flashbrew("report", output)
        assert status == 0
        assert f"the run goes on: process {first.pid} on" in out
        assert "100 of 250" in out
        assert "1 of 3" in out
        status, _, err = flashbrew("report", output, "--redraw")
        assert (status, "has not ended" in err) == (2, True)
    finally:
        first.kill()
        first.wait()
    then = time.time() - 70
    os.utime(output / ".flashbrew.lock", (then, then))
    status, out, _ = flashbrew("report", output)
    assert "the run was killed; the same command with --resume goes on with it" in out
    assert flashbrew(*run, "--resume")[0] == 0
    chunks = read(output)["datasets"]["input"]["chunks"]
    assert (chunks["done"], chunks["reused"]) == (3, 1)


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

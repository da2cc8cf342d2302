"""Arguments and configuration of a run: what is refused, what overrides what."""

from __future__ import annotations

import json
import os

import pytest

from tests.commands.running import LOCAL, read


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
        ("fail_at: 1\nfail_at: 2", "key 'fail_at' appears twice"),
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
        assert f"extraction does not use {option[0]}" in err


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
    from processors.flashsim.extraction import ExtractionConfig

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


@pytest.mark.parametrize("where", ["input", "fileset", "copy"])
def test_a_proxy_that_ended_stops_a_run_before_its_first_file(
    flashbrew, processors, sample, tmp_path, monkeypatch, where
):
    from datetime import timedelta

    from tests.executors.test_tls import proxy

    monkeypatch.setenv("X509_USER_PROXY", str(proxy(tmp_path, timedelta(hours=-1))))
    monkeypatch.delenv("BEARER_TOKEN_FILE", raising=False)
    url = "root://127.0.0.1:1//store/a.root"
    (tmp_path / "fileset.json").write_text(json.dumps({"mc": [url]}))
    arguments = {
        "input": [url],
        "fileset": ["--fileset", tmp_path / "fileset.json"],
        "copy": [sample[0], "--copy-to", "root://127.0.0.1:1//store"],
    }[where]
    command = [f"{processors}:Counting", *arguments, "--output", tmp_path / "out"]
    status, _, err = flashbrew(*command, "--executor", "iterative")
    assert (status, "ended at" in err, "voms-proxy-init" in err) == (2, True, True), err
    assert not (tmp_path / "out").exists()


def test_a_proxy_that_nodes_do_not_see_stops_a_run_over_them(
    flashbrew, processors, sample, tmp_path, monkeypatch
):
    monkeypatch.setenv("X509_USER_PROXY", "/tmp/proxy")
    command = [f"{processors}:Counting", sample[0], "--output", tmp_path / "out"]
    command += ["--executor", "htcondor", "--workers", "1", "--site", "rwth"]
    status, _, err = flashbrew(*command)
    assert (status, "/tmp/proxy lies on a disk of this machine alone" in err) == (2, True), err
    assert flashbrew(*command, "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--workers", "3"), "--workers is not used: --executor iterative runs in this process"),
        (("--merge", "dataset"), "--merge dataset joined nothing: the processor wrote no files"),
        ((), ""),
    ],
)
def test_what_changes_nothing_is_told(flashbrew, processors, sample, tmp_path, given, said):
    command = (f"{processors}:Silent", sample[0], "--output", tmp_path / "out")
    status, out, err = flashbrew(*command, *LOCAL, *given)
    assert status == 0
    text = " ".join((out + err).split())
    assert said in text
    assert ("is not used" in text or "joined nothing" in text) == bool(said)


def test_a_scheduler_has_its_own_workers(flashbrew, processors, sample):
    where = ("--executor", "dask", "--scheduler", "tcp://127.0.0.1:1", "--workers", "3")
    _, _, err = flashbrew(f"{processors}:Comparing", sample[0], *where, "--dry-run")
    assert "--workers is not used: tcp://127.0.0.1:1 has the workers that it has" in err


def test_files_that_are_not_written_are_not_joined(flashbrew, tmp_path):
    command = ("flashsim", *LOCAL, "--output", tmp_path / "out")
    status, _, err = flashbrew(*command, "--format", "none", "--merge", "dataset")
    assert (status, "--merge dataset joins files that --format none does not" in err) == (2, True)

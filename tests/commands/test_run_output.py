"""The directory of a run: what of it is replaced, kept, refused."""

from __future__ import annotations

import json

from executors.results.lock import OutputLock
from tests.commands.running import LOCAL, read


def test_nothing_is_left_of_an_earlier_run(flashbrew, processors, sample, output):
    first = (f"{processors}:Counting", *LOCAL, *sample, "--output", output)
    assert flashbrew(*first, "--chunksize", 50)[0] == 0
    assert len(list((output / "events" / "input").iterdir())) == 8
    assert flashbrew(*first, "--chunksize", 200)[0] == 0
    assert len(list((output / "events" / "input").iterdir())) == 3
    assert not list(output.glob(".*"))


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
    monkeypatch.setattr("executors.dask.cluster.CONNECT_TIMEOUT", 0.5)
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

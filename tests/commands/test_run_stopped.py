"""Runs that are interrupted, killed or broken off leave a report, and no other run a mess."""

from __future__ import annotations

import functools
import os
import pkgutil
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from tests.commands.running import LOCAL, read


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


@pytest.mark.parametrize("where", ["executors.plan.plan_fileset", "executors.work.ChunkWork.of"])
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


def wait_until_one_sleeps(run, marker, output):
    """Until one chunk has said that it sleeps, and another one is done."""
    ledger, deadline = output / "state" / "ledger.jsonl", time.monotonic() + 90
    while run.poll() is None:
        if marker.exists() and ledger.exists() and '"done"' in ledger.read_text():
            time.sleep(0.5)
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
    )
    wait_until_one_sleeps(started, tmp_path / "100", output)
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


def test_a_terminal_that_is_gone_ends_a_run_in_order(
    repository, processors, sample, output, tmp_path
):
    """As when an ssh connection breaks: the run hears SIGHUP, and cannot write any more."""
    config = tmp_path / "config.yaml"
    config.write_text(f"fail_at: 120\naction: sleep\nonce: {tmp_path}\n")
    run = [f"{processors}:Counting", str(sample[0]), "--chunksize", "100", "--output", str(output)]
    command = [sys.executable, "run_processor.py", *run, "--config", str(config), "-v"]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(repository)
        os.execv(sys.executable, [*command, "--executor", "futures", "--workers", "2"])
    reader = threading.Thread(target=drained, args=(terminal,), daemon=True)
    reader.start()
    wait_until_one_sleeps(SimpleNamespace(poll=lambda: None), tmp_path / "100", output)
    os.close(terminal)
    stopped = time.monotonic()
    _, status = os.waitpid(process, 0)
    assert time.monotonic() - stopped < 10
    assert os.waitstatus_to_exitcode(status) == 130
    report = read(output)
    assert (report["exit"]["interrupted"], report["exit"]["finished"]) == (True, True)
    assert report["datasets"]["input"]["chunks"]["done"] >= 1
    assert not (output / ".flashbrew.lock").exists()


def drained(terminal):
    """Read what is shown until nobody shows anything any more."""
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass


@pytest.mark.parametrize(
    ("ignored", "ends"), [(signal.SIGHUP, False), (signal.SIGUSR1, True)], ids=["nohup", "plain"]
)
def test_nohup_lets_a_run_go_on(repository, ignored, ends):
    code = (
        "import os, signal\n"
        "from commands.interrupts import Interrupts\n"
        "with Interrupts().handled():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('goes on')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=functools.partial(signal.signal, ignored, signal.SIG_IGN),
    )
    assert ("KeyboardInterrupt" in done.stderr) is ends
    assert ("goes on" in done.stdout) is not ends


def test_an_interrupt_while_files_are_opened_waits_for_no_server(repository, tmp_path):
    """A server takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.root"
        command = [sys.executable, "run_processor.py", "flashsim", url, "--output", "out"]
        started = subprocess.Popen(
            [*command[:1], str(repository / command[1]), *command[2:]],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(120)
        with silent.accept()[0]:
            time.sleep(0.5)
            stopped = time.monotonic()
            started.send_signal(signal.SIGINT)
            _, err = started.communicate(timeout=100)
    assert time.monotonic() - stopped < 10
    assert started.returncode == 130, err
    assert "interrupted before the first chunk" in err
    assert "Traceback" not in err


@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize(
    ("executor", "action"), [("iterative", "persist"), ("futures", "sleep"), ("dask", "sleep")]
)
def test_a_second_interrupt_ends_at_once(
    repository, flashbrew, processors, sample, output, tmp_path, executor, action
):
    # `persist` swallows the first one, as a library may: the run would not end in order
    config = tmp_path / "config.yaml"
    config.write_text(f"fail_at: 120\naction: {action}\nonce: {tmp_path}\n")
    run = [f"{processors}:Counting", str(sample[0]), "--chunksize", "100", "--output", str(output)]
    run += ["--config", str(config)]
    command = [sys.executable, "run_processor.py", *run, "--executor", executor, "--workers", "2"]
    started = subprocess.Popen(
        command,
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until_one_sleeps(started, tmp_path / "100", output)
    children = psutil.Process(started.pid).children(recursive=True)
    os.killpg(started.pid, signal.SIGINT)
    time.sleep(0.7)
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGINT)
    try:
        _, err = started.communicate(timeout=3)
    finally:
        started.kill()
    assert started.returncode == 130, err
    for word in ("Traceback", "distributed", "CommClosedError", "ERROR"):
        assert word not in err
    if action == "persist":
        assert "ended at once by a second interrupt" in err
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert read(output)["exit"]["status"] == 130
    assert flashbrew(*run, *LOCAL, "--resume")[0] == 0
    assert read(output)["datasets"]["input"]["chunks"]["reused"] >= 1


def test_signals_at_the_same_moment_are_one(repository):
    code = (
        "import os, signal, time\n"
        "from commands.interrupts import Interrupts\n"
        "try:\n"
        "    with Interrupts().handled():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('in order', flush=True)\n"
        "time.sleep(0.6)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('never')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "in order\n")
    assert "Traceback" not in done.stderr


def test_a_signal_while_the_interpreter_ends_changes_nothing(repository):
    # what a module holds is let go when handlers of signals are gone already
    code = (
        "import os, signal, sys\n"
        "from commands.interrupts import Interrupts\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGINT):\n"
        "        kill(pid, number)\n"
        "try:\n"
        "    with Interrupts().handled():\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    sys.late = Late()\n"
        "    sys.exit(130)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, check=False)
    assert done.returncode == 130


@pytest.mark.parametrize(
    "place",
    [
        "executors.collect.Collector.close",
        "commands.run_report.RunReport.write",
        "commands.run.print_summary",
    ],
)
def test_after_the_first_chunk_the_advice_is_to_resume(
    flashbrew, processors, sample, output, monkeypatch, place
):
    owner, name = place.rsplit(".", 1)
    known = pkgutil.resolve_name(place)
    calls = []

    def interrupt(*arguments, **options):
        calls.append(arguments)
        # a first report is made before the first chunk
        if len(calls) == (1 if name == "print_summary" else 2):
            raise KeyboardInterrupt
        return known(*arguments, **options)

    run = (f"{processors}:Counting", *LOCAL, sample[0], "--output", output)
    with monkeypatch.context() as patched:
        patched.setattr(f"{owner}.{name}", interrupt)
        status, _, err = flashbrew(*run)
    assert status == 130
    assert "before the first chunk" not in err
    assert read(output)["datasets"]["input"]["chunks"]["done"] == 1
    assert flashbrew(*run, "--resume")[0] == 0
    assert read(output)["datasets"]["input"]["chunks"]["reused"] == 1


def test_an_interrupt_while_joining_says_that_files_are_not_joined(
    flashbrew, processors, sample, output, monkeypatch
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    run = (f"{processors}:Writing", *LOCAL, sample[0], "--output", output, "--merge", "dataset")
    with monkeypatch.context() as patched:
        patched.setattr("executors.results.merging.merge_outputs", interrupt)
        assert flashbrew(*run)[0] == 130
    note = "event files of the chunks are not joined; --resume --merge dataset does it"
    assert note in read(output)["notes"][-1]
    assert flashbrew(*run, "--resume")[0] == 0
    assert (output / "events" / "input.root").exists()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("executors.plan.plan_fileset", "before the first chunk; nothing is lost, give the same"),
        ("executors.results.output.sweep", "what is done is kept: the same command with --resume"),
    ],
)
def test_an_interrupt_says_what_to_do(
    flashbrew, processors, sample, output, monkeypatch, where, told
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    arguments = (f"{processors}:Counting", *LOCAL, sample[0], "--output", output)
    status, _, err = flashbrew(*arguments)
    assert status == 130
    assert re.search(rf"interrupted;? {told}", err)


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

"""Progress on standard error."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from executors import console_bar
from executors.ledger import ChunkRecord
from executors.progress import ConsoleProgress


def record(start, status="done"):
    return ChunkRecord("mc", "f", "u", "E", start, start + 500, status)


def told(terminal, monkeypatch, interval):
    monkeypatch.setattr(console_bar, "INTERVAL", interval)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=160)
    with ConsoleProgress(1500, 3, "flashsim", console) as bar:
        for start, status in ((0, "done"), (500, "failed"), (1000, "done")):
            bar.heard(record(start, status))
    return stream.getvalue(), bar.state


def test_a_terminal_gets_a_bar(monkeypatch):
    text, state = told(True, monkeypatch, 0.0)
    assert "flashsim" in text
    assert state.startswith("3/3 chunks, 1 failed, 1,000 events, ")
    assert state.endswith("events/s")


def test_reused_and_retried_chunks_are_told(monkeypatch):
    bar = ConsoleProgress(1500, 3, "flashsim", Console(file=io.StringIO()))
    bar.heard(dataclasses.replace(record(0), reused=True, attempts=2))
    bar.heard(dataclasses.replace(record(500), attempts=3))
    assert bar.state.startswith("2/3 chunks, 1 reused, 1 retried, 500 events, ")


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    text, _ = told(False, monkeypatch, 0.0)
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text
    quiet, _ = told(False, monkeypatch, 1e9)
    assert quiet == ""

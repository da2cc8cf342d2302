"""Progress of a look into many files."""

from __future__ import annotations

import io

from rich.console import Console

from commands.file_progress import FileProgress
from executors.console_bar import INTERVAL


def shown(seconds, monkeypatch, *, terminal):
    """What 1,000 files that take ``seconds`` each leave on standard error."""
    clock = iter(seconds * number for number in range(5_000))
    monkeypatch.setattr("executors.console_bar.monotonic", lambda: next(clock))
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100)
    with FileProgress("looking into files", console) as looking:
        for done in range(1, 1_001):
            looking.heard(done, 1_000)
    return text.getvalue()


def test_a_long_look_says_a_line_now_and_then(monkeypatch):
    lines = shown(INTERVAL / 99.5, monkeypatch, terminal=False).splitlines()
    assert lines == [f"looking into files: {n:,} of 1,000" for n in range(100, 1_001, 100)]


def test_a_short_look_says_nothing(monkeypatch):
    assert shown(INTERVAL / 2_000, monkeypatch, terminal=False) == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    assert "1000/1000" in shown(1e-3, monkeypatch, terminal=True)

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import loky
import pytest
from matplotlib.figure import Figure

from processors.plots import saving
from processors.plots.saving import save_figures


def signed(number: int, note: Path) -> Figure:
    """A figure of a number; who drew it, and whether Ctrl-C does anything there, is noted."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    note.write_text(f"{os.getpid()} {ignored}")
    figure = Figure(figsize=(2, 2))
    figure.text(0.5, 0.5, str(number))
    return figure


def save(folder: Path, amount: int) -> tuple[dict[str, bytes], set[tuple[str, ...]]]:
    """Files that are written, and who wrote them."""
    folder.mkdir()
    notes = [folder / f"{number}.txt" for number in range(amount)]
    drawn = [partial(signed, number, note) for number, note in enumerate(notes)]
    save_figures({note.with_suffix(".png"): draw for note, draw in zip(notes, drawn, strict=True)})
    written = {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    return written, {tuple(note.read_text().split()) for note in notes}


def test_many_figures_are_drawn_by_processes_and_are_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loky, "cpu_count", lambda: 2)
    alone, mine = save(tmp_path / "alone", 6)
    assert mine == {(str(os.getpid()), "False")}
    monkeypatch.setattr(saving, "SHARE", 3)
    together, theirs = save(tmp_path / "together", 6)
    assert together == alone
    assert len(alone) == 6
    assert {ignored for _, ignored in theirs} == {"True"}
    assert str(os.getpid()) not in {process for process, _ in theirs}


@pytest.mark.parametrize("share", [1, 100])
def test_a_figure_that_cannot_be_written_is_no_secret(
    share: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(saving, "SHARE", share)
    figures = {tmp_path / "gone" / f"{n}.png": partial(signed, n, tmp_path / "n") for n in range(4)}
    with pytest.raises(FileNotFoundError, match="gone"):
        save_figures(figures)

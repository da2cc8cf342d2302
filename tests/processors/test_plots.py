from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from processors.objects.binning import BINNINGS, CORRELATIONS
from processors.plots.columns import plot_column
from processors.plots.curves import plot_correlation, plot_efficiency, plot_response, plot_roc, roc
from processors.plots.training import plot_loss
from processors.summary import distances, figures, finish, matched
from processors.validation import EVENT, ObjectColumns, Validation


@pytest.fixture(scope="module")
def filled() -> Validation:
    """Histograms of random jets and muons, flash shifted from full."""
    validation, rng = Validation(["Muon", "Jet"]), np.random.default_rng(0)
    for collection, bins in BINNINGS.items():
        for source, shift in (("full", 0.0), ("flash", 0.05)):
            columns = {
                name: (b.low + (b.high - b.low) * (rng.beta(2, 3, 400) * 0.9 + shift)).astype("f4")
                for name, b in bins.items()
            }
            gen_pt = columns["pt"] / np.float32(1 + shift)
            objects = ObjectColumns(columns, rng.integers(0, 6, 400), np.ones(400), gen_pt)
            validation.fill_objects(source, collection, objects)
        for outcome, n in (("gen", 400), ("full", 300), ("flash", 290)):
            validation.fill_efficiency(
                outcome, collection, np.full(n, 50.0), np.zeros(n), np.ones(n)
            )
    for source in ("full", "flash"):
        values = {name: rng.uniform(b.low, b.high, 100) for name, b in EVENT.items()}
        validation.fill_events(source, values, np.ones(100))
    return validation


def draws(figure: Figure) -> bool:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    return buffer.tell() > 1000


def test_a_column_shows_both_simulations_and_their_ratio(filled: Validation) -> None:
    figure = plot_column(matched(filled.hists["Jet_pt"]), dataset="toy")
    main, below = figure.axes
    labels = [text.get_text() for text in main.get_legend().get_texts()]
    assert labels == ["full simulation", "flash simulation"]
    assert any("KS" in text.get_text() for text in main.texts)
    assert below.get_xlabel() == BINNINGS["Jet"]["pt"].label
    assert draws(figure)


def test_without_full_simulation_flash_stands_alone(filled: Validation) -> None:
    alone = Validation(["Jet"])
    flash = ObjectColumns({"pt": np.full(5, 20.0)}, np.zeros(5, int), np.ones(5), np.full(5, 20.0))
    alone.fill_objects("flash", "Jet", flash)
    figure = plot_column(matched(alone.hists["Jet_pt"]), dataset="toy")
    assert len(figure.axes) == 1
    assert distances(alone.hists) == []


@pytest.mark.parametrize("empty", [False, True])
def test_curves_can_be_drawn(filled: Validation, empty: bool) -> None:
    hists = Validation(["Muon", "Jet"]).hists if empty else filled.hists
    assert draws(plot_response(hists["Jet_response"], dataset="toy", name="jet"))
    assert draws(plot_efficiency(hists["Muon_efficiency"], dataset="toy", name="muon"))
    x, y = CORRELATIONS["Jet"][0]
    assert draws(plot_correlation(hists[f"Jet_{x}_{y}"], dataset="toy"))
    assert draws(plot_roc(hists["Jet_btagDeepB"], dataset="toy", backgrounds=("c", "light")))


def test_roc_of_a_perfect_tagger() -> None:
    signal, background = np.array([0, 0, 5.0, 0]), np.array([0, 5.0, 0, 0])
    efficiency, mistag = roc(signal, background)
    assert (efficiency[2], mistag[2]) == (1.0, 0.0)


def test_unmatched_objects_are_left_out_of_the_comparison() -> None:
    validation = Validation(["Jet"])
    classes = np.array([0, 5])  # b, unmatched
    jets = ObjectColumns({"pt": np.array([20.0, 50.0])}, classes, np.ones(2), np.full(2, np.nan))
    validation.fill_objects("full", "Jet", jets)
    assert validation.hists["Jet_pt"].sum(flow=True).value == 2
    assert matched(validation.hists["Jet_pt"]).sum(flow=True).value == 1


def test_every_column_has_a_distance_and_a_figure(filled: Validation) -> None:
    rows = distances(filled.hists)
    assert {(row["object"], row["variable"]) for row in rows} == {
        *((c, v) for c, columns in BINNINGS.items() for v in columns),
        *(("event", name) for name in EVENT),
    }
    assert all(0 < row["ks"] < 1 for row in rows if row["variable"] == "pt")
    names = [name for name, _ in figures(filled.hists, "toy")]
    assert len(names) == len(set(names)) > len(rows)


def test_finish_writes_the_figures_it_names(filled: Validation, tmp_path: Path) -> None:
    few = {k: v for k, v in filled.hists.items() if k in ("Jet_pt", "event_ht", "Jet_jetId")}
    result = {"hists": few, "outputs": []}
    made = finish({"a=b": result, "a_b": result}, tmp_path)
    assert len(set(made["plots"])) == 6
    assert all((tmp_path / name).is_file() for name in made["plots"])
    assert {row["dataset"] for row in made["distances"]} == {"a=b", "a_b"}


def test_loss_curves_have_a_panel_each() -> None:
    figure = plot_loss({"flow": ([2, 1], [2.1, 1.2]), "efficiency": ([1], [1])})
    assert [axes.get_title() for axes in figure.axes] == ["flow", "efficiency"]


def test_figures_of_a_run(run: Callable, flashsim: Callable, nano: Path) -> None:
    hists = run(flashsim(format="none"), nano)["hists"]
    drawn = dict(figures(hists, "toy"))
    for name in ("Jet_pt", "efficiency_Jet", "roc_btagDeepB", "event_mjj"):
        assert draws(drawn[name]()), name

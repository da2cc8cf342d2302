from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import hist
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from processors.distances import Distance
from processors.flashsim.summary import distances, figures, finish, matched
from processors.flashsim.validation import EVENT, ObjectColumns, Validation
from processors.objects.binning import BINNINGS, CORRELATIONS
from processors.plots.columns import plot_column
from processors.plots.curves import plot_correlation, plot_efficiency, plot_response, plot_roc, roc
from processors.plots.grids import Axis, plot_grid
from processors.plots.training import plot_loss
from processors.plots.widths import Widths, plot_widths


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


def test_a_column_is_drawn_as_shares_of_all_objects() -> None:
    """A quarter of full, half of flash in the first bin, the rest in the last or above."""
    validation = Validation(["Jet"])
    bins = validation.hists["Jet_pt"].axes["pt"].edges
    low, high = bins[:2].mean(), bins[-2:].mean()
    for source, values in (("full", [low, high, high, 1e9]), ("flash", [low, high, low, 1e9])):
        pt = np.array(values)
        jets = ObjectColumns({"pt": pt}, np.zeros(4, int), np.full(4, 14_500.0), pt)
        validation.fill_objects(source, "Jet", jets)
    figure = plot_column(matched(validation.hists["Jet_pt"]), dataset="toy")
    main, below = figure.axes
    shares = [patch.get_data().values for patch in main.patches if isinstance(patch, StepPatch)]
    for drawn, (first, last) in zip(shares, ((0.25, 0.5), (0.25, 0.5), (0.5, 0.25)), strict=True):
        np.testing.assert_allclose(drawn[[0, -1]], [first, last])
        assert not drawn[1:-1].any()
    ratio, error = bars(below, 0)
    np.testing.assert_allclose(ratio[[0, -1]], [2.0, 0.5])
    np.testing.assert_allclose(error[[0, -1]], [2.0 / np.sqrt(2), 0.5])


def test_small_noise_is_not_shown_as_nothing() -> None:
    few, many = (hist_of(factor) for factor in (100, 1_000_000))
    for one, digits in ((few, 3), (many, 4)):
        (text,) = (t.get_text() for t in plot_column(one, dataset="toy").axes[0].texts[-1:])
        noise = text.partition("(noise ")[2].partition(")")[0]
        assert len(noise.partition(".")[2]) == digits
        assert float(noise) > 0


def hist_of(entries: int) -> hist.Hist:
    """Two sources with so many entries in each of ten bins."""
    axes = hist.axis.StrCategory(["full", "flash"], name="source"), hist.axis.Regular(10, 0, 1)
    one = hist.Hist(*axes, storage=hist.storage.Weight())
    one.view()["value"] = one.view()["variance"] = entries
    return one


def test_distances_that_are_given_are_those_shown(filled: Validation) -> None:
    given = Distance(0.123, 0.045, 0.678, 0.091)
    figure = plot_column(matched(filled.hists["Jet_pt"]), dataset="toy", found=given)
    (text,) = (t.get_text() for t in figure.axes[0].texts if "KS" in t.get_text())
    assert text.startswith("KS 0.123 (noise 0.045)\nW₁/σ 0.678 (noise 0.091)")


EDGES = (-735.0, 0.0, 770.0)


def widths_of(scale: float) -> Widths:
    values = np.array([0.4, 0.1]) * scale
    return Widths(values, 0.03 * values, values * [1.1, 0.9], 0.04 * values * [1.1, 0.9])


def test_widths_are_drawn_with_errors_over_the_ratio() -> None:
    both = {"first": widths_of(1.0), "second": widths_of(1.5)}
    figure = plot_widths(both, EDGES, dataset="toy", against="z [mm]", of="width [ns]")
    main, below = figure.axes
    names = [text.get_text() for text in main.get_legend().get_texts()]
    assert sorted(names) == sorted(f"{a}, {b} simulation" for a in both for b in ("full", "flash"))
    lines = [p for p in main.patches if isinstance(p, StepPatch) and not p.get_fill()]
    for number, one in enumerate(both.values()):
        np.testing.assert_allclose(lines[number].get_data().values, one.full)
        for axes, (expected, wanted) in (
            (main, (one.flash, one.flash_error)),
            (below, ([1.1, 0.9], np.array([1.1, 0.9]) * 0.05)),
        ):
            values, errors = bars(axes, number)
            np.testing.assert_allclose(values, expected)
            np.testing.assert_allclose(errors, wanted)
    low, high = below.get_ylim()
    assert low < 0.9 - 0.9 * 0.05
    assert high > 1.1 + 1.1 * 0.05
    assert (main.get_ylabel(), below.get_xlabel()) == ("width [ns]", "z [mm]")
    assert draws(figure)


def test_widths_of_flash_simulation_alone_have_no_ratio() -> None:
    unknown = np.full(2, np.nan)
    one = widths_of(1.0)._replace(full=unknown, full_error=unknown)
    figure = plot_widths({"first": one}, EDGES, dataset="toy", against="z [mm]", of="width [ns]")
    (main,) = figure.axes
    assert [t.get_text() for t in main.get_legend().get_texts()] == ["first, flash simulation"]
    assert main.get_xlabel() == "z [mm]"
    middle = np.asarray(main.containers[0].lines[0].get_xdata())
    np.testing.assert_allclose(middle, [-367.5, 385.0])


def test_a_grid_holds_each_distance_in_its_cell_above_its_noise() -> None:
    ks = np.arange(1, 13).reshape(2, 2, 3) / 1000
    floor = np.full_like(ks, 0.004)
    ks[1, 0, 2] = floor[1, 0, 2] = np.nan
    axes = Axis("z [mm]", EDGES), Axis("angle [deg]", (0, 90, 180)), Axis("p [GeV]", (0.1, 1, 5, 9))
    figure = plot_grid(ks, floor, axes, dataset="toy")
    planes = [plane for plane in figure.axes if plane.get_title()]
    titles = ["p 0.1 to 1 GeV", "p 1 to 5 GeV", "p 5 to 9 GeV"]
    assert [plane.get_title() for plane in planes] == titles
    middles = ((-367.5, 385.0), (45.0, 135.0))
    for number, plane in enumerate(planes):
        texts = {text.get_position(): text.get_text() for text in plane.texts}
        expected = {
            (middles[0][i], middles[1][j]): f"{ks[i, j, number]:.4f}\n(0.0040)"
            for i in range(2)
            for j in range(2)
            if np.isfinite(ks[i, j, number])
        }
        assert texts == expected
        (mesh,) = plane.collections
        np.testing.assert_allclose(
            np.ma.filled(mesh.get_array(), np.nan), (ks[..., number] / floor[..., number]).T
        )
    assert draws(figure)
    width, height = figure.bbox.size
    for plane in figure.axes:
        box = plane.get_tightbbox()
        assert box is None or (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height)


def test_without_full_simulation_flash_stands_alone(filled: Validation) -> None:
    alone = Validation(["Jet"])
    flash = ObjectColumns({"pt": np.full(5, 20.0)}, np.zeros(5, int), np.ones(5), np.full(5, 20.0))
    alone.fill_objects("flash", "Jet", flash)
    figure = plot_column(matched(alone.hists["Jet_pt"]), dataset="toy")
    assert len(figure.axes) == 1
    assert distances(alone.hists) == []


def bars(axes: Axes, which: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn values and errors of one set of points with error bars."""
    points, _, (segments,) = axes.containers[which].lines
    lengths = [
        0.5 * np.ptp(segment[:, 1]) if segment.size else np.nan
        for segment in segments.get_segments()
    ]
    return np.asarray(points.get_ydata()), np.array(lengths)


def rescaled(histogram: hist.Hist, factor: float) -> hist.Hist:
    """The histogram that the same entries with other weights give."""
    result = histogram.copy()
    view = result.view(flow=True)
    view["value"] *= factor
    view["variance"] *= factor**2
    return result


def test_efficiencies_are_drawn_with_binomial_errors() -> None:
    """Forty of each hundred generated objects in every bin, thirty of them by flash simulation."""
    validation = Validation(["Muon"])
    pt = np.repeat(validation.hists["Muon_efficiency"].axes["gen_pt"].centers, 100)
    for outcome, kept in (("gen", 100), ("full", 40), ("flash", 30)):
        chosen = np.arange(len(pt)) % 100 < kept
        n = int(chosen.sum())
        validation.fill_efficiency(outcome, "Muon", pt[chosen], np.zeros(n), np.full(n, 14_500.0))
    figure = plot_efficiency(validation.hists["Muon_efficiency"], dataset="toy", name="muon")
    main, below = figure.axes
    for which, share in enumerate((0.4, 0.3)):
        values, errors = bars(main, which)
        np.testing.assert_allclose(values, share)
        np.testing.assert_allclose(errors, np.sqrt(share * (1 - share) / 100))
    np.testing.assert_allclose(below.lines[0].get_ydata(), 0.75)


def test_responses_are_drawn_with_the_error_of_the_mean() -> None:
    """Responses 0.81 and 1.21 (bin centres 0.8125, 1.2125) in turn: mean 1.0125, width 0.2."""
    validation = Validation(["Jet"])
    gen = np.repeat(validation.hists["Jet_response"].axes["gen_pt"].centers, 50)
    ratio = np.where(np.arange(len(gen)) % 2, 0.81, 1.21)
    for source, shift in (("full", 0.0), ("flash", 0.1)):
        pt = gen * (ratio + shift)
        jets = ObjectColumns({"pt": pt}, np.zeros(len(gen), int), np.full(len(gen), 14_500.0), gen)
        validation.fill_objects(source, "Jet", jets)
    figure = plot_response(validation.hists["Jet_response"], dataset="toy", name="jet")
    main, below = figure.axes
    for which, mean in enumerate((1.0125, 1.1125)):
        values, errors = bars(main, which)
        np.testing.assert_allclose(values, mean)
        np.testing.assert_allclose(errors, 0.2 / np.sqrt(50))
        np.testing.assert_allclose(below.lines[which].get_ydata(), 0.2)


@pytest.mark.parametrize("name", ["Jet_response", "Jet_efficiency"])
def test_errors_do_not_depend_on_the_scale_of_the_weights(filled: Validation, name: str) -> None:
    plot = plot_response if name.endswith("response") else plot_efficiency
    one, other = (
        plot(rescaled(filled.hists[name], factor), dataset="toy", name="jet").axes[0]
        for factor in (1.0, 14_500.0)
    )
    for which in range(2):
        for expected, found in zip(bars(one, which), bars(other, which), strict=True):
            # rounding of float64 sums alone
            np.testing.assert_allclose(found, expected, rtol=1e-9, equal_nan=True)


def test_tagging_performance_is_drawn_as_efficiency_against_mistag() -> None:
    """All b above 0.5, as are a quarter of c and a tenth of light; flash: a half and a fifth."""
    validation = Validation(["Jet"])
    classes = np.repeat([0, 1, 3], 40)  # b, c, light
    place = np.tile(np.arange(40), 3)
    for source, share in (("full", (40, 10, 4)), ("flash", (40, 20, 8))):
        score = np.where(place < np.repeat(share, 40), 0.9, 0.1)
        jets = ObjectColumns({"pt": score, "btagDeepB": score}, classes, np.ones(120), score)
        validation.fill_objects(source, "Jet", jets)
    figure = plot_roc(
        validation.hists["Jet_btagDeepB"], dataset="toy", backgrounds=("c", "light", "gluon")
    )
    at_full_efficiency = [
        line.get_ydata()[np.isclose(line.get_xdata(), 1.0)].min() for line in figure.axes[0].lines
    ]
    np.testing.assert_allclose(at_full_efficiency, [0.25, 0.1, 0.5, 0.2])


def test_the_efficiency_has_no_ratio_panel_without_full_simulation() -> None:
    validation = Validation(["Jet"])
    for outcome in ("gen", "flash"):
        validation.fill_efficiency(outcome, "Jet", np.full(9, 50.0), np.zeros(9), np.ones(9))
    figure = plot_efficiency(validation.hists["Jet_efficiency"], dataset="toy", name="jet")
    (axes,) = figure.axes
    assert axes.get_xlabel() == r"jet generated $p_T$ [GeV]"


def test_no_label_of_a_correlation_is_cut_off(filled: Validation) -> None:
    x, y = CORRELATIONS["Jet"][0]
    figure = plot_correlation(filled.hists[f"Jet_{x}_{y}"], dataset="toy")
    figure.savefig(io.BytesIO())
    width, height = figure.bbox.size
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height


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


def test_histograms_without_entries_are_not_drawn() -> None:
    assert list(figures(Validation(["Muon", "Jet"]).hists, "toy")) == []

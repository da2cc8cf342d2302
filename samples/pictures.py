"""Figures of generated against full simulation; functions of samples that return the figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from samples.compare import Objects, Sample

__all__ = ["FIGURES", "Panel", "save"]

GENERATED_COLOUR = "#92dadd"  # CMS palette (Petroff, arXiv:2107.02270)
REAL_STYLE = (("#3f90da", "o"), ("#bd1f01", "s"), ("#832db6", "^"))
RESPONSE_EDGES_GEV = np.array([15, 20, 25, 30, 40, 50, 65, 85, 120, 180, 400.0])
EFFICIENCY_EDGES_GEV = np.array([10, 12.5, 15, 17.5, 20, 25, 30, 40, 60, 100, 200.0])
MIN_OBJECTS = 12
PANEL_INCHES = (3.3, 2.6)
LEGEND_INCHES = 0.32
WIDE_RANGE = 300.0  # of a logarithmic axis, above which decades alone are labelled
DPI = 80
FLAVOURS = MappingProxyType({5: "b", 4: "c", 0: "udsg"})
PROMPT, HEAVY = (1, 15), (4, 5)


class Panel(NamedTuple):
    """One histogram: what to take from a sample, where, how."""

    title: str
    take: Callable[[Sample], np.ndarray | None]
    edges: np.ndarray
    logy: bool = False
    logx: bool = False


def _panels(
    panels: Sequence[Panel], generated: Sample, real: Sequence[Sample], width: int
) -> Figure:
    rows = -(-len(panels) // width)
    with mpl.rc_context({"font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8}):
        figure = Figure(figsize=(PANEL_INCHES[0] * width, PANEL_INCHES[1] * rows))
        axes = np.atleast_1d(figure.subplots(rows, width)).ravel()
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes, panels, strict=False):
            _histogram(axis, panel, generated, real)
        _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """One legend above all panels."""
    band = LEGEND_INCHES / figure.get_figheight()
    figure.tight_layout(pad=0.6, rect=(0, 0, 1, 1 - band))
    entries = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        entries |= {label: entries.get(label, h) for h, label in zip(handles, labels, strict=True)}
    figure.legend(
        list(entries.values()), list(entries), loc="upper center", ncol=len(entries), frameon=False
    )


def _log_ticks(axis: Axes) -> None:
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())


def _histogram(axis: Axes, panel: Panel, generated: Sample, real: Sequence[Sample]) -> None:
    values = panel.take(generated)
    if values is not None:
        heights = _density(values, panel.edges)[0]
        mplhep.histplot(
            heights, panel.edges, ax=axis, histtype="fill", color=GENERATED_COLOUR,
            label="generated", edgecolor="#2c7f86", linewidth=0.8,
        )  # fmt: skip
    for sample, (colour, marker) in zip(real, REAL_STYLE, strict=False):
        values = panel.take(sample)
        if values is None or len(values) < MIN_OBJECTS:
            continue
        heights, errors = _density(values, panel.edges)
        centre = np.sqrt(panel.edges[1:] * panel.edges[:-1]) if panel.logx else None
        centre = 0.5 * (panel.edges[1:] + panel.edges[:-1]) if centre is None else centre
        shown = heights > 0
        axis.errorbar(
            centre[shown], heights[shown], errors[shown], fmt=marker, color=colour, markersize=3,
            linewidth=0.9, label=sample.label,
        )  # fmt: skip
    axis.set_title(panel.title)
    axis.set_xlim(panel.edges[0], panel.edges[-1])
    axis.set_yscale("log" if panel.logy else "linear")
    axis.set_xscale("log" if panel.logx else "linear")
    if panel.logx and panel.edges[-1] / panel.edges[0] < WIDE_RANGE:
        _log_ticks(axis)
    if not panel.logy:
        axis.set_ylim(bottom=0)
    axis.set_ylabel("fraction per bin")


def _density(values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions per bin, first and last bin with everything beyond; their Poisson errors."""
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], -np.inf))
    count = np.histogram(inside[np.isfinite(values)], edges)[0].astype(float)
    total = max(count.sum(), 1.0)
    return count / total, np.sqrt(count) / total


def _of(collection: str, name: str, pick: Callable[[Objects], np.ndarray] | None = None):  # noqa: ANN202
    """Getter of one column of matched objects, optionally of a part of them."""

    def take(sample: Sample) -> np.ndarray | None:
        objects = getattr(sample, collection)
        if name not in objects:
            return None
        values = objects[name].astype(float)
        return values if pick is None else values[pick(objects)]

    return take


def spectra(generated: Sample, real: Sequence[Sample]) -> Figure:
    """Multiplicities, momenta, directions."""
    count = np.arange(-0.5, 16.5)
    panels = [
        Panel("jets per event, pt > 15 GeV", lambda s: s.jets.counts, count),
        Panel("muons per event, pt > 3 GeV", lambda s: s.muons.counts, np.arange(-0.5, 6.5), True),
        Panel("vertices (PV_npvs)", lambda s: s.vertices, np.linspace(0, 70, 15)),
        Panel("pt of matched jets [GeV]", _of("jets", "pt"), np.geomspace(15, 500, 16), True, True),
        Panel("eta of matched jets", _of("jets", "eta"), np.linspace(-5, 5, 21)),
        Panel("mass of matched jets [GeV]", _of("jets", "mass"), np.linspace(0, 50, 21), True),
        Panel("pt of matched muons [GeV]", _of("muons", "pt"), np.geomspace(3, 200, 12), logx=True),
        Panel("eta of matched muons", _of("muons", "eta"), np.linspace(-2.5, 2.5, 11)),
        Panel("area of matched jets", _of("jets", "area"), np.linspace(0.3, 0.7, 21), True),
    ]  # fmt: skip
    return _panels(panels, generated, real, 3)


def taggers(generated: Sample, real: Sequence[Sample]) -> Figure:
    """DeepJet scores for jets of each flavour."""
    panels = []
    for name in ("btagDeepFlavB", "btagDeepFlavCvB", "btagDeepFlavCvL", "btagDeepFlavQG"):
        for flavour, label in FLAVOURS.items():

            def pick(objects: Objects, flavour: int = flavour) -> np.ndarray:
                return objects["hadronFlavour"] == flavour

            take = _of("jets", name, pick)
            panels.append(Panel(f"{name}, {label} jets", take, np.linspace(0, 1, 16), True))
    return _panels(panels, generated, real, 3)


def content(generated: Sample, real: Sequence[Sample]) -> Figure:
    """What jets are made of."""
    fraction = np.linspace(0, 1.0001, 21)
    names = ("chHEF", "neHEF", "neEmEF", "chEmEF", "muEF")
    panels = [Panel(name, _of("jets", name), fraction, True) for name in names]
    panels += [
        Panel("nConstituents", _of("jets", "nConstituents"), np.arange(0.5, 46, 3)),
        Panel("rawFactor", _of("jets", "rawFactor"), np.linspace(0, 0.5, 21), True),
        Panel("nElectrons", _of("jets", "nElectrons"), np.arange(-0.5, 4.5), True),
        Panel("nMuons", _of("jets", "nMuons"), np.arange(-0.5, 4.5), True),
    ]
    return _panels(panels, generated, real, 3)


def muons(generated: Sample, real: Sequence[Sample]) -> Figure:
    """Isolation, impact parameters, scores of prompt muons, of muons from heavy hadrons."""

    def kind(codes: tuple[int, ...]) -> Callable[[Objects], np.ndarray]:
        return lambda objects: np.isin(objects["genPartFlav"], codes)

    specs = (
        ("pfRelIso04_all", np.geomspace(0.005, 30, 13), True),
        ("miniPFRelIso_all", np.geomspace(0.005, 30, 13), True),
        ("sip3d", np.geomspace(0.1, 200, 13), True),
        ("segmentComp", np.linspace(0, 1.0001, 11), False),
        ("softMva", np.linspace(-1, 0.8, 13), False),
        ("mvaTTH", np.linspace(-1, 1.0001, 11), False),
    )
    panels = []
    for name, edges, logx in specs:
        for codes, label in ((PROMPT, "prompt"), (HEAVY, "from b, c")):
            take = _of("muons", name, kind(codes))
            panels.append(Panel(f"{name}, {label}", take, edges, not logx, logx))
    return _panels(panels, generated, real, 4)


def older(generated: Sample, real: Sequence[Sample]) -> Figure:
    """Columns of NanoAOD v9 that v12 dropped; shown against the files that have them."""
    unit = np.linspace(0, 1.0001, 16)

    def light(objects: Objects) -> np.ndarray:
        return objects["hadronFlavour"] == 0

    signed = np.linspace(-1.1, 1.0001, 22)
    panels = [
        Panel("qgl", _of("jets", "qgl"), signed, True),
        Panel("puIdDisc", _of("jets", "puIdDisc"), np.linspace(-1, 1.0001, 21), True),
        Panel("chFPV0EF", _of("jets", "chFPV0EF"), unit, True),
        Panel("btagDeepB, udsg jets", _of("jets", "btagDeepB", light), signed, True),
        Panel(
            "btagCSVV2, udsg jets", _of("jets", "btagCSVV2", light), np.linspace(-0.2, 1, 16), True
        ),
        Panel("btagDeepCvL, udsg jets", _of("jets", "btagDeepCvL", light), signed, True),
        Panel("bRegCorr", _of("jets", "bRegCorr"), np.linspace(0.6, 2, 21), True),
        Panel("bRegRes", _of("jets", "bRegRes"), np.linspace(0, 0.6, 21), True),
        Panel("cRegCorr", _of("jets", "cRegCorr"), np.linspace(0.6, 2, 21), True),
    ]
    return _panels(panels, generated, real, 3)


def pileup_jets(generated: Sample, real: Sequence[Sample]) -> Figure:
    """Jets without a generator partner."""

    def lost(name: str, change: Callable[[np.ndarray], np.ndarray]):  # noqa: ANN202
        return lambda s: change(s.jets.columns[name][~s.jets.matched].astype(float))

    jets, muons = np.arange(-0.5, 9.5), np.arange(-0.5, 5.5)
    panels = [
        Panel("unmatched jets per event", lambda s: s.jets.unmatched_counts, jets, True),
        Panel("pt of unmatched jets [GeV]", lost("pt", np.asarray), np.linspace(15, 65, 11), True),
        Panel("|eta| of unmatched jets", lost("eta", np.abs), np.linspace(0, 5.2, 14)),
        Panel("unmatched muons per event", lambda s: s.muons.unmatched_counts, muons, True),
    ]  # fmt: skip
    return _panels(panels, generated, real, 4)


def response(generated: Sample, real: Sequence[Sample]) -> Figure:
    """Median, half central 68 % width of reconstructed over generator pt, with the efficiency."""
    with mpl.rc_context({"font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8}):
        figure = Figure(figsize=(PANEL_INCHES[0] * 3, PANEL_INCHES[1] * 1.1))
        axes = figure.subplots(1, 3)
        styles = [("#2c7f86", "D"), *REAL_STYLE]
        for sample, style in zip([generated, *real], styles, strict=False):
            _response_points(axes, sample, style)
        for axis, title in zip(
            axes, ("median response", "width of the response", "efficiency"), strict=True
        ):
            axis.set_title(f"jets: {title}")
            axis.set_xlabel("generator pt [GeV]")
            axis.set_xscale("log")
            _log_ticks(axis)
        axes[0].set_ylim(0.85, 1.35)
        axes[1].set_ylim(0, 0.4)
        axes[2].set_ylim(0, 1.05)
        _legend(figure)
    return figure


def _response_points(axes: Sequence[Axes], sample: Sample, style: tuple[str, str]) -> None:
    gen_pt = sample.jets["gen_pt"]
    ratio = sample.jets["pt"] / gen_pt
    points = []
    for low, high in pairwise(RESPONSE_EDGES_GEV):
        part = ratio[(gen_pt > low) & (gen_pt <= high)]
        if len(part) >= MIN_OBJECTS:
            down, middle, up = np.quantile(part, [0.16, 0.5, 0.84])
            half = 0.5 * (up - down)
            points.append((np.sqrt(low * high), middle, half, half / np.sqrt(len(part))))
    x, middle, half, error = np.array(points).T
    look = {"fmt": style[1], "color": style[0], "markersize": 3.5, "linewidth": 0.9}
    axes[0].errorbar(x, middle, 1.25 * error, label=sample.label, **look)
    axes[1].errorbar(x, half, error, label=sample.label, **look)
    found = np.histogram(gen_pt, EFFICIENCY_EDGES_GEV)[0]
    total = np.maximum(np.histogram(sample.gen_jet_pt, EFFICIENCY_EDGES_GEV)[0], 1)
    efficiency = found / total
    spread = np.sqrt(np.maximum(efficiency * (1 - efficiency), 0.0) / total)
    centre = np.sqrt(EFFICIENCY_EDGES_GEV[1:] * EFFICIENCY_EDGES_GEV[:-1])
    axes[2].errorbar(centre, efficiency, spread, label=sample.label, **look)


FIGURES: Mapping[str, Callable[[Sample, Sequence[Sample]], Figure]] = MappingProxyType(
    {
        "spectra": spectra,
        "taggers": taggers,
        "content": content,
        "muons": muons,
        "response": response,
        "pileup": pileup_jets,
        "older": older,
    }
)


def save(figure: Figure, path: Path) -> None:
    """Write a small PNG."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})

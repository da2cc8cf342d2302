"""Figures are drawn from what the files hold."""

from __future__ import annotations

import numpy as np
import pytest

from samples import compare, pictures
from samples.compare import Objects, Sample


def toy(label, rng, events=40):
    def objects(names):
        columns = {name: rng.uniform(0, 1, 3 * events) for name in names}
        columns |= {"pt": rng.uniform(15, 60, 3 * events), "eta": rng.normal(0, 2, 3 * events)}
        columns |= {"gen_pt": rng.uniform(15, 60, 3 * events)}
        columns |= {"hadronFlavour": rng.choice([0, 4, 5], 3 * events)}
        columns |= {"genPartFlav": rng.choice([1, 5], 3 * events)}
        matched = rng.random(3 * events) < 0.8
        count = np.full(events, 3)
        lost = (~matched).reshape(events, 3).sum(axis=1)
        return Objects(columns, matched, count, lost)

    jets = objects(["chHEF", "btagDeepFlavB", "qgl", "area", "mass"])
    muons = objects(["pfRelIso04_all", "sip3d", "softMva"])
    return Sample(label, jets, muons, rng.uniform(10, 60, 300), np.full(events, 30))


@pytest.mark.parametrize("name", list(pictures.FIGURES))
def test_every_figure_is_drawn(name, rng, tmp_path):
    figure = pictures.FIGURES[name](toy("generated", rng), [toy("real", rng)])
    pictures.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"generated", "real"}


def test_fractions_include_what_is_beyond():
    heights, errors = pictures._density(
        np.array([-5.0, 0.5, 9.0, np.nan]), np.array([0.0, 1.0, 2.0])
    )
    assert heights.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert errors[0] == pytest.approx(np.sqrt(2) / 3)


def test_real_file_is_read(real_data):
    sample = compare.read_sample(real_data / "nano" / "nano_tt_v12_200.root", "v12")
    assert sample.events == 200
    assert sample.jets.matched.sum() == 1336
    assert np.all(np.isfinite(sample.jets["gen_pt"]))
    assert sample.jets.unmatched_counts.sum() == len(sample.jets.matched) - 1336
    assert "qgl" not in sample.jets

"""Photon times: work_eic's weights with the meaning that they need."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from flows.importers.normflows import import_normflows, timing_columns
from flows.importers.source import ForeignModelError
from flows.noise import Identity, normals
from flows.reference import compare
from flows.resident import resident

nf = pytest.importorskip("normflows")

FILES = {
    "August_05_run_9_3context_2flows_16hl_64hu_2000bs.pth": (1.0, (2, 16, 64)),
    "August_06_run_3_3context_1flows_10hl_128hu_2000bs.pth": (6.0, (1, 10, 128)),
}


def model_of(flows: int, blocks: int, hidden: int):
    layers = []
    for _ in range(flows):
        layers.append(
            nf.flows.AutoregressiveRationalQuadraticSpline(
                1, blocks, hidden, num_context_channels=3
            )
        )
        layers.append(nf.flows.LULinearPermute(1))
    return nf.ConditionalNormalizingFlow(nf.distributions.DiagGaussian(1, trainable=False), layers)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "run_1_3context_1flows_2hl_16hu.pth"
    torch.save(model_of(1, 2, 16).state_dict(), path)
    return path


@pytest.mark.parametrize("name", FILES)
def test_real_weights_draw_the_times_of_the_library(real_data, name):
    path, (arm, sizes) = real_data / "timing" / name, FILES[name]
    bundle = import_normflows(path, lever_arm=arm, thickness=10.0)
    assert compare(bundle) == (64, 0)
    assert bundle.card.spec["definitions"]["lever_arm_mm"] == arm
    sampler, rows, per = resident(bundle, "cpu"), 200, 10
    rng = np.random.default_rng(1)
    hits = rng.uniform([-735, 0, 0.1], [770, 180, 10], (rows, 3)).astype(np.float32)
    row, zero = np.arange(rows), np.zeros(rows, dtype=np.int64)
    identity = Identity(1, "bar", "PhotonTime", zero, zero, row, zero, zero)
    found = sampler.sample_repeated(hits, np.full(rows, per), identity)
    model = model_of(*sizes)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    noise = normals(identity, "flow", per).reshape(-1, 1).double()
    with torch.no_grad():
        expected = model.double()(noise, torch.from_numpy(hits).double().repeat_interleave(per, 0))
    # the published bound in ns; found are 2e-5 at most
    assert np.abs(found.targets - expected[:, 0].numpy()).max() < 1e-4
    assert found.counters["nonfinite"] == found.counters["outside_training_range"] == 0


def test_the_normalisation_of_2025_is_part_of_the_bundle(weights):
    raw, scaled = (import_normflows(weights, lever_arm=6, normalisation=n) for n in ("raw", "2025"))
    hits = np.array([[-700.0, 30.0, 5.0], [100.0, 90.0, 1.0]])
    as_seen = np.stack([hits[:, 0] / 1500 + 0.5, hits[:, 1] / 180, hits[:, 2] / 10], 1)
    noise = np.array([[0.3], [-1.0]])
    expected = 25 * resident(raw, "cpu").decode(noise, as_seen).targets
    found = resident(scaled, "cpu").decode(noise, hits).targets
    # float32 contexts rounded in another order
    assert np.allclose(found, expected, rtol=1e-5)


def test_what_the_file_does_not_say_must_be_said(weights):
    with pytest.raises(ForeignModelError, match=r"lever arm: 1 mm .* 6 mm from then on"):
        import_normflows(weights)
    with pytest.raises(ForeignModelError, match="between 0 and 1000 mm, found -1"):
        import_normflows(weights, lever_arm=-1)
    with pytest.raises(ForeignModelError, match="'2030' is unknown"):
        timing_columns(1.0, "2030")
    for wrong in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(ForeignModelError, match=r"thickness of .* finite number above 0"):
            timing_columns(1.0, thickness=wrong)
        with pytest.raises(ForeignModelError, match="decay time of"):
            timing_columns(1.0, decay_time=wrong)
    told = import_normflows(weights, lever_arm=6, thickness=20, decay_time=1.8)
    assert told.card.spec["definitions"]["decay_time_ns"] == 1.8


def test_a_name_that_contradicts_the_shapes_is_refused(weights):
    other = weights.with_name("run_1_3context_2flows_2hl_16hu.pth")
    weights.rename(other)
    with pytest.raises(ForeignModelError, match="flows 1 against 2"):
        import_normflows(other, lever_arm=1)


def test_weights_that_are_not_numbers_are_refused(weights):
    state = torch.load(weights, weights_only=True)
    name = next(n for n in state if n.endswith("final_layer.bias"))
    torch.save(state | {name: torch.full_like(state[name], torch.nan)}, weights)
    with pytest.raises(ForeignModelError, match=r"2hl_16hu\.pth: .*final\.bias expected finite"):
        import_normflows(weights, lever_arm=6)
    torch.save(state, weights)
    with pytest.raises(ForeignModelError, match="finite number"):
        import_normflows(weights, lever_arm=6, tail_bound=math.inf)


def test_other_columns_come_from_a_file(weights, tmp_path):
    path = tmp_path / "columns.json"
    content = {"object": "t", "collection": "T", "source": "G", "targets": ["t"]}
    path.write_text(json.dumps(content | {"conditions": ["a", "b", "c"]}))
    assert import_normflows(weights, columns=path).card.layout.condition_names == ("a", "b", "c")
    for ignored in ({"lever_arm": 6.0}, {"normalisation": "2025"}, {"thickness": 10.0}):
        with pytest.raises(ForeignModelError, match="have no effect"):
            import_normflows(weights, columns=path, **ignored)
    path.write_text(json.dumps(content | {"conditions": ["a", "b"]}))
    with pytest.raises(ForeignModelError, match="1 targets from 2 numbers"):
        import_normflows(weights, columns=path)

"""Corrections of photons: zuko's weights with the stored means and widths."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from flows.features import Log, Standardise, ZeroPeak
from flows.importers.source import ForeignModelError
from flows.importers.zuko import FILES, VARIABLES, import_zuko, photon_columns
from flows.reference import compare
from flows.resident import resident

zuko = pytest.importorskip("zuko")

ARCHITECTURE = {"transforms": 2, "hidden_features": (32, 32), "bins": 10}
ROWS = 300


def random_flow(passes):
    torch.manual_seed(3)
    options = {} if passes is None else {"passes": passes}
    flow = zuko.flows.NSF(16, 5, **ARCHITECTURE, **options)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(1.5)
    return flow


@pytest.fixture
def folder(tmp_path):
    """Means and widths as the corrections code stores them."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=16), rng.uniform(0.5, 2, 16), rng.normal(size=4), np.ones(4))
    for name, numbers in zip(FILES, values):
        kind = np.float32 if name.startswith("input") else np.float64
        np.save(tmp_path / f"{name}.npy", numbers.astype(kind))
    return tmp_path


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "flow.pth"
    torch.save(random_flow(None).state_dict(), path)
    return path


def photons(domain: float):
    rng = np.random.default_rng(1)
    table = [rng.uniform(25, 100, ROWS), *rng.uniform(-2, 2, (2, ROWS)), rng.uniform(10, 40, ROWS)]
    conditions = np.stack([*table, np.full(ROWS, domain)], 1)
    variables = rng.exponential(size=(ROWS, 16))
    variables[:, 6:15][rng.random((ROWS, 9)) < 0.5] = 0.0
    return variables, conditions, rng.random((ROWS, 16))


@pytest.mark.parametrize("passes", [None, 2])
@pytest.mark.parametrize("era", ["preEE", "postEE"])
def test_corrections_are_those_of_the_seed(real_data, tmp_path, passes, era):
    """Simulation to noise, noise to data, around the library with the published formulas."""
    folder = real_data / "corrections" / "normalisation" / era
    flow = random_flow(passes)
    torch.save(flow.state_dict(), tmp_path / "flow.pth")
    bundle = import_zuko(tmp_path / "flow.pth", folder, **ARCHITECTURE, passes=passes, era=era)
    assert compare(bundle) == (64, 0)
    model = resident(bundle, "cpu")
    variables, simulation, uniform = photons(0.0)
    data = photons(1.0)[1]
    means, widths, c_means, c_widths = (np.load(folder / f"{n}.npy").astype(float) for n in FILES)
    variables[:, [0, 1, 2, 3, 4, 5, 15]] *= widths[[0, 1, 2, 3, 4, 5, 15]]
    x = variables.copy()
    for i, (_, shift) in enumerate(VARIABLES.values()):
        if shift is not None:
            triangle = 0.99 * shift * (1 - np.sqrt(1 - uniform[:, i]))
            x[:, i] = np.log(1e-3 + np.where(x[:, i] > 0, x[:, i] + shift, triangle))
    x = torch.from_numpy((x - means) / widths)
    contexts = []
    for conditions in (simulation, data):
        seen = conditions.copy()
        seen[:, :4] = (seen[:, :4] - c_means) / c_widths
        contexts.append(torch.from_numpy(seen))
    with torch.no_grad():
        flow = flow.double()
        noise = flow(contexts[0]).transform(x)
        y = flow(contexts[1]).transform.inv(noise).numpy() * widths + means
    for i, (_, shift) in enumerate(VARIABLES.values()):
        if shift is not None:
            back = np.exp(y[:, i]) - 1e-3
            y[:, i] = np.where(back < shift, 0.0, back - shift)
    encoded = model.encode(variables, simulation, uniform)
    # float32 on our side: 1e-6 of widths, through slopes up to a few hundred
    assert np.quantile(np.abs(encoded - noise.numpy()), 0.99) < 1e-3
    found = model.decode(encoded, data).targets
    close = np.abs(found - y) <= 1e-3 * np.abs(y) + 2e-3 * widths
    assert close.mean() > 0.99


def test_columns_of_the_seed_in_its_order():
    layout = photon_columns().layout
    assert layout.target_names[:3] == ("r9", "sieie", "etaWidth")
    assert layout.target_names[6:8] == ("hoe", "ecalPFClusterIso")
    assert layout.targets[6].transforms == (ZeroPeak(0.001), Log(1.0, 1e-3))
    for wrong in (math.nan, math.inf, 0.0, -0.001):
        with pytest.raises(ForeignModelError, match=r"shift of H/E of .* above 0"):
            photon_columns(wrong)
    assert photon_columns(0.02).layout.targets[6].transforms[0] == ZeroPeak(0.02)
    assert layout.condition_names == ("pt", "ScEta", "phi", "rho", "is_data")


def test_means_and_widths_end_the_transforms(folder, weights):
    bundle = import_zuko(weights, folder, **ARCHITECTURE)
    last = [t.transforms[-1] for t in bundle.card.layout.targets]
    assert all(isinstance(t, Standardise) for t in last)
    assert bundle.card.layout.conditions[-1].transforms == ()
    assert bundle.card.provenance["architecture"]["bins"] == 10


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_normalisation_must_be_there(folder, weights, name):
    (folder / f"{name}.npy").unlink()
    with pytest.raises(ForeignModelError, match=rf"{name}\.npy: cannot be read"):
        import_zuko(weights, folder, **ARCHITECTURE)


def test_normalisations_that_mean_something_else_are_refused(folder, weights):
    np.save(folder / "input_std.npy", np.zeros(16))
    with pytest.raises(ForeignModelError, match="widths are positive"):
        import_zuko(weights, folder, **ARCHITECTURE)
    np.save(folder / "input_std.npy", np.ones(15))
    with pytest.raises(ForeignModelError, match="expected 16 finite numbers"):
        import_zuko(weights, folder, **ARCHITECTURE)
    np.save(folder / "input_std.npy", np.array([1.0] * 15 + [1e300]))
    with pytest.raises(ForeignModelError, match=r"not one is finite in \['energyErr'\]"):
        import_zuko(weights, folder, **ARCHITECTURE)
    np.save(folder / "min_values.npy", np.zeros(9))
    with pytest.raises(ForeignModelError, match="second step"):
        import_zuko(weights, folder, **ARCHITECTURE)


@pytest.mark.parametrize(
    "change", [{"transforms": 3}, {"hidden_features": (16, 32)}, {"bins": 8}, {"passes": 2}]
)
def test_another_architecture_is_refused(folder, weights, change):
    with pytest.raises(ForeignModelError, match=r"flow\.pth: "):
        import_zuko(weights, folder, **(ARCHITECTURE | change))


def test_other_variables_come_from_a_file(folder, weights, tmp_path):
    path = tmp_path / "columns.json"
    content = {
        "object": "photon",
        "collection": "Photon",
        "source": "Photon",
        "conditions": ["pt", "eta", "phi", "rho", {"name": "is_data", "range": [0, 1]}],
        "targets": [f"v{i}" for i in range(16)],
    }
    path.write_text(json.dumps(content))
    bundle = import_zuko(weights, folder, **ARCHITECTURE, columns=path)
    assert bundle.card.layout.target_names[15] == "v15"
    with pytest.raises(ForeignModelError, match="shift of H/E would have no effect"):
        import_zuko(weights, folder, **ARCHITECTURE, columns=path, hoe_shift=0.02)

"""FlashSim's checkpoints give what nflows and the extractor's files give together."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from flows.engine import Engine
from flows.importers.nflows import build_flow, compile_flashsim, import_nflows
from flows.importers.source import ForeignModelError
from flows.reference import compare
from flows.resident import resident

MIXTURE = {
    "input_dim": 5,
    "context_dim": 3,
    "base_kwargs": {
        "num_steps_maf": 2,
        "num_steps_arqs": 1,
        "num_steps_caf": 0,
        "num_transform_blocks_maf": 2,
        "num_transform_blocks_arqs": 1,
        "activation": "relu",
        "dropout_probability_maf": 0.0,
        "dropout_probability_arqs": 0.1,
        "use_residual_blocks_maf": False,
        "use_residual_blocks_arqs": True,
        "batch_norm_maf": True,
        "batch_norm_arqs": False,
        "num_bins_arqs": 8,
        "tail_bound_arqs": 1.0,
        "hidden_dim_maf": 16,
        "hidden_dim_arqs": 16,
        "init_identity": True,
        "affine_type": "softplus",
        "permute_type": "random-permutation",
    },
}
PROTOTYPE = {
    "input_dim": 5,
    "num_flow_steps": 2,
    "context_dim": 3,
    "base_transform_kwargs": {
        "hidden_dim": 16,
        "num_transform_blocks": 2,
        "activation": "relu",
        "batch_norm": True,
        "num_bins": 8,
        "tail_bound": 1.0,
        "apply_unconditional_transform": False,
        "base_transform_type": "rq-coupling",
    },
}
COLUMNS = {
    "object": "jet",
    "collection": "Jet",
    "source": "GenJet",
    "conditions": [
        {"name": "GenJet_pt", "unit": "GeV", "range": [0.5, 2]},
        {"name": "GenJet_eta", "range": [-1, 1]},
        {"name": "GenJet_phi", "unit": "rad", "range": [-1, 1]},
    ],
    "targets": [
        {"name": "Jet_ptRatio", "unit": "GeV", "operations": [["m", "GenJet_pt"]]},
        {"name": "Jet_etaMinusGen", "operations": [["i", "tan", [20, 0]], ["a", "GenJet_eta"]]},
        {"name": "Jet_chHEF", "operations": [["i", "tan", [50, -50]]]},
        {"name": "Jet_nConstituents", "operations": [["d", None, None]]},
        {"name": "Jet_hadronFlavour", "operations": [["uhf"]]},
    ],
}
FACTORS = {
    "Jet_ptRatio": 4.99,
    "Jet_etaMinusGen": 1.5,
    "Jet_chHEF": 1.55,
    "Jet_nConstituents": 111.7,
    "Jet_hadronFlavour": 5.5,
}
RANGES = {
    "Jet_ptRatio": [-5.0, 5.0],
    "Jet_etaMinusGen": [-1.0, 1.0],
    "Jet_chHEF": [0.0, 1.0],
    "Jet_nConstituents": [1.0, 112.0],
    "Jet_hadronFlavour": [0.0, 5.0],
}


def random_flow(settings):
    """A flow with weights, norms and constants that are not those of the start."""
    torch.manual_seed(1)
    flow, _ = build_flow(settings)
    with torch.no_grad():
        for name, tensor in [*flow.named_parameters(), *flow.named_buffers()]:
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif "running_mean" in name or name.endswith("bias"):
                tensor.normal_(0, 0.1)
        for module in flow.modules():
            if hasattr(module, "final_layer"):
                module.final_layer.weight.mul_(0.3)
            if type(module).__name__.startswith("MaskedAffine"):
                module.autoregressive_net.final_layer.bias.add_(0.5414)
    return flow.eval()


@pytest.fixture
def files(tmp_path):
    """Files as FlashSim writes them; returns a function from settings to arguments."""

    def write(settings, state=None, **changed):
        content = {
            "train_history": [1.0],
            "model_hyperparams": settings,
            "model_state_dict": random_flow(settings).state_dict() if state is None else state,
            "epoch": 3,
        }
        torch.save(content, tmp_path / "model.pt")
        texts = {"columns": COLUMNS, "scale_factors": FACTORS, "ranges": RANGES} | changed
        for name, text in texts.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(text))
        return {
            "weights": tmp_path / "model.pt",
            **{name: tmp_path / f"{name}.json" for name in texts},
        }

    return write


def seed_inverse(flow, z, context, shift: float):
    """The library's inverse with FlashSim's affine step: softplus + 0.05 cut at 1, shift − k."""
    x = z
    for step in reversed(list(_leaves(flow._transform))):
        if type(step).__name__.startswith("MaskedAffine"):
            y = torch.zeros_like(x)
            for _ in range(x.shape[1]):
                raw = step.autoregressive_net(y, context).view(len(x), -1, 2)
                scale = (torch.nn.functional.softplus(raw[..., 0]) + 0.05).clamp(0, 1)
                y = (x - (raw[..., 1] - shift)) / scale
            x = y
        else:
            x = step.inverse(x, context)[0]
    return x


def _leaves(transform):
    for part in getattr(transform, "_transforms", [transform]):
        yield from _leaves(part) if hasattr(part, "_transforms") else [part]


@pytest.mark.parametrize("settings", [MIXTURE, PROTOTYPE], ids=["mixture", "prototype"])
def test_plans_agree_with_the_library(settings):
    flow = random_flow(settings)
    plan = compile_flashsim(settings, flow.state_dict(), "flashsim-clamped")
    z, context = torch.randn(10_000, 5).double() * 0.5, torch.randn(10_000, 3).double()
    z[::10] *= 10
    with torch.no_grad():
        expected = seed_inverse(flow.double(), z, context, 0.5414)
    found = Engine(plan, 1).inverse(z, context)
    # two affine steps divide by scales down to 0.05: roundings of 1e-16 grow by 400 at most
    assert ((found - expected).abs() <= 1e-12 * (1 + expected.abs())).float().mean() > 0.999
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("settings", [MIXTURE, PROTOTYPE], ids=["mixture", "prototype"])
def test_bundles_make_physics_columns(files, settings):
    arguments = files(settings)
    bundle = import_nflows(**arguments, name="jet", era="2018")
    assert compare(bundle) == (64, 0)
    model, rng = resident(bundle, "cpu"), np.random.default_rng(2)
    conditions = np.stack([rng.uniform(0.5, 2, 500), *rng.uniform(-1, 1, (2, 500))], 1)
    noise = (rng.normal(size=(500, 5)) * 0.2).astype(np.float32)
    found = model.decode(noise, conditions)
    with torch.no_grad():
        given = torch.from_numpy(conditions)
        flow = random_flow(settings).double()
        y = seed_inverse(flow, torch.from_numpy(noise).double(), given, 0.5414).numpy()
    y = y * list(FACTORS.values())
    low, high = np.array(list(RANGES.values())).T
    ratio = np.clip(y[:, 0], low[0], high[0]) * conditions[:, 0]
    bound = np.pi / 2
    inside = (np.abs(y[:, 1:3]) < bound).all(1)
    eta = np.clip(np.tan(y[:, 1]) / 20, low[1], high[1]) + conditions[:, 1]
    fraction = np.clip((np.tan(y[:, 2]) + 50) / 50, 0, 1)
    number = np.clip(np.rint(y[:, 3]), 1, 112)
    rounded = np.rint(y[:, 4])
    flavour = np.where(rounded <= 2, 0, np.where(rounded >= 5, 5, 4))
    # float32 networks, then up to e⁴ through the tangent
    for column, expected in ((0, ratio), (1, eta), (2, fraction)):
        assert np.allclose(found.targets[inside, column], expected[inside], rtol=1e-3, atol=1e-3)
    # one value in 10⁵ lies within rounding of a half
    assert (found.targets[:, 3] == number).mean() > 0.99
    assert (found.targets[:, 4] == flavour).mean() > 0.99
    assert bundle.card.provenance["parametrisation"] == "flashsim-clamped"
    assert bundle.card.layout.target_names == tuple(FACTORS)


def test_hyper_parameters_may_come_from_a_file(files, tmp_path):
    arguments = files(MIXTURE, hyperparameters=MIXTURE)
    torch.save(random_flow(MIXTURE).state_dict(), arguments["weights"])
    bundle = import_nflows(**arguments)
    assert bundle.card.name == "model"
    arguments.pop("hyperparameters")
    with pytest.raises(ForeignModelError, match="holds no model_hyperparams"):
        import_nflows(**arguments)


def test_the_older_name_of_the_dictionary_is_known():
    older = {**MIXTURE, "base_transform_kwargs": MIXTURE["base_kwargs"]}
    older.pop("base_kwargs")
    assert build_flow(older)[1] is True


def changed(settings, **inner):
    key = "base_kwargs" if "base_kwargs" in settings else "base_transform_kwargs"
    return settings | {key: settings[key] | inner}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (changed(MIXTURE, num_steps_caf=2), "affine couplings"),
        (changed(MIXTURE, affine_type="atan"), "'atan' cannot be run"),
        (changed(MIXTURE, num_steps_maf="2"), "whole number"),
        (MIXTURE | {"input_dim": 0}, r"'input_dim'\] is a whole number from 1 on, found 0"),
        (changed(PROTOTYPE, num_bins=0), "whole number from 1 on"),
        ({k: v for k, v in MIXTURE.items() if k != "input_dim"}, "lacks 'input_dim'"),
        (MIXTURE | {"base_kwargs": None}, "is a dictionary"),
        (changed(PROTOTYPE, activation="elu"), "activation"),
        (changed(PROTOTYPE, activation="tanh"), "'tanh' is unknown"),
        (changed(PROTOTYPE, base_transform_type="affine"), "cannot be run"),
        (changed(PROTOTYPE, tail_bound="1"), "is a number"),
    ],
)
def test_dictionaries_that_nothing_can_run_are_refused(settings, message):
    good = PROTOTYPE if "num_flow_steps" in settings else MIXTURE
    state = random_flow(good).state_dict()
    with pytest.raises(ForeignModelError, match=message):
        compile_flashsim(settings, state, "flashsim-clamped")


@pytest.mark.parametrize("entry", [99, 1, -1])
def test_permutations_that_are_none_are_refused(entry):
    state = random_flow(MIXTURE).state_dict()
    name = next(n for n in state if n.endswith("_permutation"))
    order = torch.arange(len(state[name]))
    order[0] = entry
    with pytest.raises(ForeignModelError, match=rf"permutation of .* entries \[{entry}, 1"):
        compile_flashsim(MIXTURE, state | {name: order}, "flashsim-clamped")


def test_weights_of_another_model_are_refused(files):
    state = random_flow(MIXTURE).state_dict()
    with pytest.raises(ForeignModelError, match=r"shape.*hyper-parameters make"):
        compile_flashsim(changed(MIXTURE, hidden_dim_maf=8), state, "nflows")
    with pytest.raises(ForeignModelError, match=r"lack.*unknown"):
        compile_flashsim(PROTOTYPE, state, "nflows")
    with pytest.raises(ForeignModelError, match="parametrisation 'other'"):
        compile_flashsim(MIXTURE, state, "other")
    less = {k: v for k, v in FACTORS.items() if k != "Jet_chHEF"}
    with pytest.raises(ForeignModelError, match="'Jet_chHEF' has no scale factor"):
        import_nflows(**files(MIXTURE, scale_factors=less))
    fewer = COLUMNS | {"targets": COLUMNS["targets"][:4]}
    kept = {t["name"] for t in fewer["targets"]}
    factors, ranges = ({k: v for k, v in d.items() if k in kept} for d in (FACTORS, RANGES))
    with pytest.raises(ForeignModelError, match="the columns make 4 targets"):
        import_nflows(**files(MIXTURE, columns=fewer, scale_factors=factors, ranges=ranges))
    with pytest.raises(ForeignModelError, match=r"columns\.json: scale factors of .*belong to no"):
        import_nflows(**files(MIXTURE, columns=fewer))

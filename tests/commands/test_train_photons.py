"""Training of photon times from the command line: the toy, its tables, work_eic's photons."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import uproot

from commands.agreement import main as agreement
from commands.bundle import main as bundle
from commands.train import main as train
from flows.bundle import Bundle
from flows.reference import compare
from flows.resident import resident
from processors.timing.conditions import conditions_of
from processors.timing.tables import load_photons, save_photons
from samples.timing.bar import photon_yield
from samples.timing.edm4hep import make_tree
from samples.timing.production import Request, content_of, produce

SHORT = ["--executor", "iterative", "--threads", "1"]
REAL = "vary_1file_1000events_file0.pt"
WEIGHTS = "August_06_run_3_3context_1flows_10hl_128hu_2000bs.pth"


@pytest.fixture(scope="module")
def muons(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "bars.root"
    produce(Request(600, 41), path, progress=lambda done, total: None)
    return path


@pytest.fixture(scope="module")
def trained(muons, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "photons.yaml"
    config.write_text("decay_time: 1.8\nmost_photons: 64\n")
    arguments = ["timing.photon", str(muons), "--output", str(folder / "b"), "--epochs", "6"]
    assert train([*arguments, "--config", str(config), *SHORT]) == 0
    return folder / "b"


def test_a_model_of_the_toy_learns_times_and_numbers(trained):
    made = Bundle.load(trained)
    card, model = made.card, resident(trained, "cpu")
    definitions = card.spec["definitions"]
    assert definitions["decay_time_ns"] == 1.8
    assert definitions["lever_arm_mm"] == 1.0
    assert card.seed_system == "RowanKell/work_eic"
    assert card.provenance["events"] == 600
    assert compare(made).differing == 0
    # 600 muons, six epochs: KS within some percent; far off would be 0.2
    assert card.metrics["closure"][0]["ks"] < 0.05
    assert card.metrics["numbers_over_mean"] == pytest.approx(1.0, abs=0.1)
    z = np.array([-700.0, 0.0, 500.0])
    contexts = np.stack([z, np.full(3, 80.0), np.full(3, 5.0)], axis=1)
    # seven and more photons per MeV, learnt from 1,200 sensors
    assert model.mean_numbers(conditions_of(card, contexts)).per_exposure == pytest.approx(
        photon_yield(1.0, 770.0 - z), rel=0.2
    )


def test_tables_train_without_extraction(trained, tmp_path):
    tables = sorted((trained.with_name("b.training") / "tables").rglob("*.npz"))
    arguments = ["timing.photon", *map(str, tables), "--output", str(tmp_path / "again")]
    assert train([*arguments, "--epochs", "6", *SHORT]) == 0
    assert not (tmp_path / "again.training" / "tables").exists()
    first, again = Bundle.load(trained), Bundle.load(tmp_path / "again")
    for name, tensor in first.tensors.items():
        assert np.array_equal(tensor.numpy(), again.tensors[name].numpy()), name
    _, photons = load_photons(tables)
    assert photons.kept.max() == 64


def test_tables_and_events_do_not_mix(muons, trained, tmp_path, capsys):
    table = next((trained.with_name("b.training") / "tables").rglob("*.npz"))
    arguments = ["timing.photon", str(muons), str(table), "--output", str(tmp_path / "b")]
    assert train([*arguments, *SHORT]) == 2
    assert "tables and events together cannot be trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "option", "complaint"),
    [
        ("timing.photon", ["--lever-arm", "6"], "have no use for --lever-arm"),
        ("timing.photon", ["--config", "any.yaml"], "--config any.yaml has no effect"),
        ("flashsim.jet", ["--muons", "first"], "have no use for --muons"),
    ],
)
def test_what_tables_say_themselves_cannot_be_told(
    trained, tmp_path, capsys, model, option, complaint
):
    table = next((trained.with_name("b.training") / "tables").rglob("*.npz"))
    assert train([model, str(table), "--output", str(tmp_path / "b"), *option, *SHORT]) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("model", "option", "complaint"),
    [
        ("timing.photon", ["--lever-arm", "6"], "--lever-arm; set the key 'lever_arm' with --conf"),
        ("timing.photon", ["--order", "2024-07"], "--order; leave it out"),
        ("flashsim.jet", ["--muons", "first"], "--muons; leave it out"),
    ],
)
def test_what_is_told_of_tables_alone_costs_no_extraction(
    muons, tmp_path, capsys, model, option, complaint
):
    assert train([model, str(muons), "--output", str(tmp_path / "b"), *option, *SHORT]) == 2
    assert f"events have no use for {complaint}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "b.training" / "tables").exists()


def test_other_bars_are_no_start(trained, tmp_path, capsys):
    table = next((trained.with_name("b.training") / "tables").rglob("*.npz"))
    definitions, photons = load_photons([table])
    save_photons(tmp_path / "thick.npz", definitions | {"thickness_mm": 20.0}, photons)
    arguments = ["timing.photon", str(tmp_path / "thick.npz"), "--from", str(trained)]
    assert train([*arguments, "--output", str(tmp_path / "b"), *SHORT]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "bars with thickness_mm 10.0, the photons are of bars with 20.0" in said


def test_patterns_of_tables_are_expanded(trained, tmp_path):
    tables = trained.with_name("b.training") / "tables"
    arguments = ["timing.photon", str(tables / "*" / "*.npz"), "--output", str(tmp_path / "again")]
    assert train([*arguments, "--epochs", "1", *SHORT]) == 0
    again, first = (Bundle.load(path).card.provenance for path in (tmp_path / "again", trained))
    assert again["samples"] == first["samples"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("x.parquet", "x.parquet is a parquet file by its name, this processor reads root files"),
        ("none.npz", "none.npz cannot be read: No such file or directory"),
        ("*.npz", "no file matches"),
    ],
)
def test_inputs_that_cannot_serve_are_named(name, complaint, tmp_path, capsys):
    (tmp_path / "x.parquet").touch()
    arguments = ["timing.photon", str(tmp_path / name), "--output", str(tmp_path / "b"), *SHORT]
    assert train(arguments) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())


def test_tables_and_tensors_do_not_mix(trained, tmp_path, capsys):
    table = next((trained.with_name("b.training") / "tables").rglob("*.npz"))
    (tmp_path / "a.pt").touch()
    arguments = ["timing.photon", str(table), str(tmp_path / "a.pt"), "--order", "2024-07"]
    assert train([*arguments, "--output", str(tmp_path / "b"), *SHORT]) == 2
    assert "tables (.npz) and tensors (.pt) together" in capsys.readouterr().err


def test_a_table_given_twice_is_refused(trained, tmp_path, capsys):
    table = next((trained.with_name("b.training") / "tables").rglob("*.npz"))
    copy = tmp_path / "copy.npz"
    shutil.copy(table, copy)
    for other, complaint in ((table, "is named twice"), (copy, "holds muons that are in")):
        arguments = ["timing.photon", str(table), str(other), "--output", str(tmp_path / "b")]
        assert train([*arguments, *SHORT]) == 2
        assert complaint in " ".join(capsys.readouterr().err.split())


def test_broken_tables_end_with_two_and_their_name(trained, tmp_path, capsys):
    table = next((trained.with_name("b.training") / "tables").rglob("*.npz"))
    definitions, photons = load_photons([table])
    save_photons(tmp_path / "bad.npz", definitions, photons._replace(kept=photons.kept + 1))
    arguments = ["timing.photon", str(tmp_path / "bad.npz"), "--output", str(tmp_path / "b")]
    assert train([*arguments, *SHORT]) == 2
    assert "bad.npz is no sound table" in " ".join(capsys.readouterr().err.split())


def test_events_that_give_no_row_are_told_with_what_was_cut(muons, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("min_momentum: 9.9999\n")
    arguments = ["timing.photon", str(muons), "--output", str(tmp_path / "b"), *SHORT]
    assert train([*arguments, "--config", str(config)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no event gave a row to train on: 600 events read, cut: " in said
    assert " momentum; name other events" in said


def test_files_without_events_are_told(tmp_path, capsys):
    with uproot.recreate(tmp_path / "none.root") as file:
        make_tree(file, 1).extend({n: v[:0] for n, v in content_of(Request(5, 1), 0).items()})
    arguments = ["timing.photon", str(tmp_path / "none.root"), "--output", str(tmp_path / "b")]
    assert train([*arguments, *SHORT]) == 2
    assert "no event gave a row to train on: 0 events read" in capsys.readouterr().err


def test_a_key_of_the_configuration_that_is_none_is_named(muons, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("leverarm: 6\n")
    arguments = ["timing.photon", str(muons), "--output", str(tmp_path / "b"), *SHORT]
    assert train([*arguments, "--config", str(config)]) == 2
    assert "leverarm" in capsys.readouterr().err


def test_the_seeds_weights_learn_further_from_half_of_its_muons(real_data, tmp_path, capsys):
    folder, told = real_data / "timing", ["--order", "2024-07", "--lever-arm", "1"]
    imported, tuned = tmp_path / "imported", tmp_path / "tuned"
    arguments = [str(folder / WEIGHTS), "--lever-arm", "6", "--output", str(imported)]
    assert bundle(["import", "normflows", *arguments]) == 0
    arguments = ["timing.photon", str(folder / REAL), *told, "--muons", "first"]
    options = ["--from", str(imported), "--output", str(tuned), *SHORT]
    assert train([*arguments, *options]) == 0
    assert Bundle.load(tuned).card.spec["definitions"]["lever_arm_mm"] == 6.0
    found = {}
    for model in (imported, tuned):
        capsys.readouterr()
        half = ["--muons", "second", "--json"]
        assert agreement([str(model), str(folder / REAL), *told, *half]) == 0
        found[model.name] = json.loads(capsys.readouterr().out)[REAL][0]
    assert 30 < found["tuned"]["muons"] < 70
    # 1 is perfect, the median of 50 ratios fluctuates by 0.06; wanted 1.3
    assert found["tuned"]["ks_per_muon"] < 1.3
    learnt = Bundle.load(tuned).card.metrics["flow"]
    assert learnt["best_loss"] < learnt["start_loss"]
    before, after = (Bundle.load(path).tensors for path in (imported, tuned))
    assert any(not np.array_equal(after[n].numpy(), t.numpy()) for n, t in before.items())


def test_a_start_that_does_not_say_where_its_z_lies_is_refused(
    trained, tmp_path, real_data, capsys
):
    start = Bundle.load(trained)
    spec = dict(start.card.spec)
    spec["definitions"] = {k: v for k, v in spec["definitions"].items() if k != "lever_arm_mm"}
    card = dataclasses.replace(start.card, spec=spec)
    dataclasses.replace(start, card=card).save(tmp_path / "start")
    table = str(real_data / "timing" / REAL)
    arguments = ["timing.photon", table, "--order", "2024-07", "--lever-arm", "1", *SHORT]
    options = ["--from", str(tmp_path / "start"), "--output", str(tmp_path / "b")]
    assert train([*arguments, *options]) == 2
    assert "does not say where its z lies" in " ".join(capsys.readouterr().err.split())

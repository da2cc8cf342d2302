from __future__ import annotations

import awkward as ak
import pytest
import uproot

from samples import production
from samples.__main__ import main

# One full batch and a short one: two pieces of work for two processes.
COMMON = ["--process", "zmumu", "--events", "260", "--seed", "4", "--pool-events", "32"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "z.root"
    assert main([*COMMON, "-o", str(path)]) == 0
    return path


def test_last_line_tells_what_was_made(tmp_path, capsys):
    path = tmp_path / "few.root"
    arguments = ["--process", "ttbar", "--events", "3", "--seed", "1", "--pool-events", "16"]
    assert main([*arguments, "-o", str(path)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"{path}: 3 ttbar events")
    assert "events/s" in line
    assert [p.name for p in tmp_path.iterdir()] == ["few.root"]


def test_bytes_do_not_depend_on_the_number_of_processes(reference, tmp_path):
    path = tmp_path / "again.root"
    assert main([*COMMON, "-j", "2", "-o", str(path)]) == 0
    assert path.read_bytes() == reference.read_bytes()


def test_detector_seed_changes_the_detector_alone(tmp_path):
    few = ["--process", "zmumu", "--events", "20", "--seed", "4", "--pool-events", "32"]
    paths = [tmp_path / name for name in ("first.root", "second.root")]
    assert main([*few, "-o", str(paths[0])]) == 0
    assert main([*few, "--detector-seed", "9", "-o", str(paths[1])]) == 0
    first, second = (uproot.open(path)["Events"] for path in paths)
    for name in ("GenPart_pt", "GenJet_mass", "Pileup_nPU", "GenVtx_z", "event"):
        assert ak.array_equal(first[name].array(), second[name].array()), name
    for name in ("Jet_pt", "Muon_ptErr", "PV_npvs"):
        assert not ak.array_equal(first[name].array(), second[name].array()), name


@pytest.mark.parametrize(
    ("first", "second"),
    [(["--pool-events", "8"], []), (["--pileup-seed", "4"], ["--pileup-seed", "5"])],
)
def test_the_pool_decides_the_pile_up_alone(tmp_path, first, second):
    trees = []
    for number, pool in enumerate((first, second)):
        path = tmp_path / f"{number}.root"
        few = ["--process", "zmumu", "--events", "20", "--seed", "4", "--pool-events", "40"]
        assert main([*few, *pool, "-o", str(path)]) == 0
        trees.append(uproot.open(path)["Events"])
    first, second = trees
    for name in ("GenPart_pt", "Pileup_nPU"):
        assert ak.array_equal(first[name].array(), second[name].array()), name
    rho = "fixedGridRhoFastjetAll"
    assert not ak.array_equal(first[rho].array(), second[rho].array())


def test_event_numbers_run_through(reference):
    tree = uproot.open(reference)["Events"]
    assert tree["event"].array().to_list() == list(range(1, 261))
    assert set(tree["run"].array()) == set(tree["luminosityBlock"].array()) == {1}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"--events": "0"}, "events is 0; it must be at least 1"),
        ({"--seed": "-1"}, "seed is -1; it must be at least 0"),
        ({"--pool-events": "0"}, "pool_events is 0; it must be at least 1"),
        ({"-j": "0"}, "jobs is 0; it must be at least 1"),
        ({"-o": "."}, "is a folder; give the name of a file"),
        ({"-o": "nowhere/at/all.root"}, "does not exist; make it first"),
    ],
)
def test_bad_arguments_end_with_two_and_a_sentence(change, complaint, capsys):
    options = {"--process": "ttbar", "--events": "3", "--seed": "1", "-o": "x.root"} | change
    assert main([word for pair in options.items() for word in pair]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error


def test_unknown_process_ends_with_two(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--process", "higgs", "--events", "3", "--seed", "1", "-o", "x.root"])
    assert caught.value.code == 2
    assert "vbf_hmumu" in capsys.readouterr().err


def test_truth_batches_cover_the_request():
    sizes = [len(batch) for batch in production.truth_batches("zmumu", 3, 4, pool_events=16)]
    assert sizes == [3]
    request = production.Request("ttbar", 2 * production.BATCH_EVENTS + 1, 1)
    assert request.sizes == [production.BATCH_EVENTS] * 2 + [1]

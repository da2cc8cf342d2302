"""The toy of scintillator bars: its physics, its files."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import torch
import uproot

from samples.timing.__main__ import main
from samples.timing.bar import Bar, Scintillator, photon_yield
from samples.timing.light import shine
from samples.timing.muons import MUON_MASS, Gun, Muons, cross, shoot
from samples.timing.production import BATCH_EVENTS, Request, batch

MUONS = 2000


def lit(bar: Bar, z, theta, momentum=5.0, seed=3):
    """Muons at given vertices, angles in rad: their tracks, photons."""
    z, theta = np.broadcast_arrays(np.asarray(z, dtype=float), np.asarray(theta, dtype=float))
    rng = np.random.default_rng(seed)
    muons = Muons(np.arange(len(z)), z, theta, np.full(len(z), momentum))
    tracks = cross(muons, bar, rng)
    return tracks, shine(tracks, theta[tracks.muon], bar, rng)


def upright(bar: Bar, z: float, number: int = MUONS):
    """Muons that cross the bars at right angles."""
    return lit(bar, np.full(number, z), np.pi / 2)


def delays(tracks, photons, sensor):
    """Times of the photons at one sensor after their muons entered the bar."""
    seen = photons.sensor == sensor
    return photons.time[seen] - tracks.time[photons.crossing[seen]]


def test_the_first_photons_travel_at_the_measured_speed():
    bar = Bar()
    assert bar.light.speed == pytest.approx(190.0, rel=0.002)
    speeds = []
    for z in (-700.0, -350.0, 0.0, 350.0, 700.0):
        tracks, photons = upright(bar, z)
        for sensor, distance in ((1, z - bar.low), (2, bar.high - z)):
            speeds.append(distance / np.quantile(delays(tracks, photons, sensor), 0.01))
    # measured on models of the full simulation: 174 mm/ns; the toy gives 177
    assert np.median(speeds) == pytest.approx(174.0, rel=0.03)
    assert max(speeds) < bar.light.speed


def test_the_number_of_photons_is_that_of_the_formula():
    bar = Bar()
    for z in (-600.0, 0.0, 700.0):
        tracks, photons = upright(bar, z)
        for sensor, distance in ((1, z - bar.low), (2, bar.high - z)):
            expected = photon_yield(tracks.energy, np.full(MUONS, distance))
            counts = np.bincount(photons.crossing[photons.sensor == sensor], minlength=MUONS)
            # standard deviation of a sum of Poisson numbers; four of them
            assert abs(counts.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())
            # chi2 of Poisson numbers per degree of freedom: its width is sqrt(2 / MUONS) = 0.03,
            # more where the mean is small: 1 / mean is 0.07 at most
            spread = ((counts - expected) ** 2 / expected).mean()
            assert spread == pytest.approx(1.0, abs=0.15)


def test_energy_is_that_of_a_thin_layer():
    tracks, _ = upright(Bar(), 0.0)
    # PDG: 2.02 MeV/cm of a minimum-ionising particle in polyvinyl toluene is the mean with its
    # tail, 1.7 MeV the most probable value of 1 cm of plastic
    assert np.median(tracks.energy) == pytest.approx(1.85e-3, rel=0.08)


def test_the_late_end_of_the_times_decays_as_the_scintillator():
    bar = Bar(light=Scintillator(decay_time=2.4, attenuation=50.0, end_reflectivity=0.0))
    tracks, photons = upright(bar, 760.0, 200)
    late = delays(tracks, photons, 2)
    late = late[late > 3.0] - 3.0
    # error of the mean of an exponential; four of them. Absorbed light does not travel for ns
    assert late.mean() == pytest.approx(2.4, abs=4 * 2.4 / np.sqrt(len(late)) + 0.03)


def test_light_comes_back_from_the_far_end():
    echo = {}
    for share in (0.0, 0.5):
        bar = Bar(light=Scintillator(end_reflectivity=share))
        tracks, photons = upright(bar, 700.0)
        assert (photons.direction[photons.sensor == 2, 2] < 0).any() == (share > 0)
        way = 2 * bar.length - 70.0
        times = delays(tracks, photons, 2)
        backwards = photons.direction[photons.sensor == 2, 2] < 0
        assert not backwards.any() or times[backwards].min() > way / bar.light.speed
        echo[share] = (times > 15.0).mean()
    assert echo[0.5] > 3 * echo[0.0]


def test_both_ends_are_alike():
    bar = Bar()
    _, photons = upright(bar, 0.5 * (bar.low + bar.high))
    low, high = (np.count_nonzero(photons.sensor == sensor) for sensor in (1, 2))
    assert abs(low - high) < 4 * np.sqrt(low + high)  # four standard deviations


def test_light_of_a_grazing_track_is_made_along_it():
    bar = Bar()
    tracks, photons = lit(bar, np.full(20, -700.0), np.radians(2.0))
    assert np.all(tracks.length == pytest.approx(10.0 / np.sin(np.radians(2.0))))
    for sensor in (1, 2):
        along = photons.along[photons.sensor == sensor]
        assert along.min() >= 0
        assert along.max() <= tracks.length.max()
    # the low sensor, 35 mm away from the start, sees the start more than the high one does
    low, high = (photons.along[photons.sensor == sensor].mean() for sensor in (1, 2))
    assert low < 0.8 * high


def test_muons_lose_energy_between_the_bars():
    bar = Bar(layers=5)
    rng = np.random.default_rng(1)
    tracks = cross(Muons(np.arange(2), np.zeros(2), np.full(2, np.pi / 2), np.ones(2)), bar, rng)
    energy = np.hypot(tracks.momentum, MUON_MASS)
    assert np.diff(energy[:5]) == pytest.approx(np.full(4, -bar.steel))
    assert tracks.layer.tolist() == [0, 1, 2, 3, 4] * 2
    speed = 299.792458 / np.hypot(1.0, MUON_MASS)
    assert tracks.time[:5] == pytest.approx((1.0 + bar.pitch * np.arange(5)) / speed)


def test_guns_hit_the_first_bar():
    bar, gun = Bar(), Gun()
    muons = shoot(gun, bar, 3000, np.random.default_rng(2))
    tracks = cross(muons, bar, np.random.default_rng(2))
    # those at 0.5 degrees, whose bar ends before they enter it, are the exception
    assert len(tracks.muon) > 2950
    assert muons.momentum.min() >= 0.1
    assert muons.momentum.max() <= 10


def test_times_agree_with_full_simulation(real_data):
    path = real_data / "timing" / "vary_1file_1000events_file0.pt"
    real = torch.load(path, weights_only=True).numpy().astype(float)
    muons = np.unique(real[:, [0, 2]], axis=0)
    theta = np.radians(np.repeat(muons[:, 1], 4))
    tracks, photons = lit(Bar(), np.repeat(muons[:, 0], 4) - 1.0 / np.tan(theta), theta)
    angle = np.degrees(theta)[tracks.muon[photons.crossing[photons.sensor == 2]]]
    times = delays(tracks, photons, 2)
    shares = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    for low, high in ((3, 10), (10, 30), (30, 90)):
        full = (real[:, 4] - real[:, 1])[(real[:, 2] >= low) & (real[:, 2] < high)]
        toy = times[(angle >= low) & (angle < high)]
        # constants of the toy were chosen to come this close; 0.95 to 1.08 are found
        assert np.quantile(toy, shares) / np.quantile(full, shares) == pytest.approx(
            np.ones(len(shares)), abs=0.1
        )


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("timing") / "bars.root"
    arguments = ["--events", str(BATCH_EVENTS + 10), "--seed", "4", "--layers", "2", "--muons", "2"]
    assert main([*arguments, "--theta", "20", "160", "-o", str(path)]) == 0
    return path, arguments


def test_the_same_command_gives_the_same_bytes(sample, tmp_path):
    path, arguments = sample
    again = tmp_path / "again.root"
    assert main([*arguments, "--theta", "20", "160", "-o", str(again)]) == 0
    assert again.read_bytes() == path.read_bytes()


def test_the_tree_has_the_branches_of_ddsim(sample):
    tree = uproot.open(sample[0])["events"]
    arrays = {name: tree[name].array() for name in tree.keys()}  # noqa: SIM118
    assert tree.num_entries == BATCH_EVENTS + 10
    kind, parents = arrays["MCParticles.PDG"], arrays["_MCParticles_parents.index"]
    assert ak.all(kind[:, :2] == 13)
    assert ak.all(kind[:, 2:] == -22)
    linked = arrays["_HcalBarrelHits_MCParticle.index"]
    of_photon = kind[linked] == -22
    sensor = (arrays["HcalBarrelHits.cellID"] >> np.uint64(22)) & np.uint64(3)
    assert ak.all((sensor > 0) == of_photon)
    assert ak.all(ak.num(parents) == ak.sum(of_photon, axis=1))
    starts, ends = arrays["MCParticles.parents_begin"], arrays["MCParticles.parents_end"]
    assert ak.all((ends - starts == 1) == (kind == -22))
    assert ak.all(starts[:, 2:] == ak.local_index(kind[:, 2:]))
    # a photon belongs to a muon that left energy in its bar, before it arrived
    cell, time = arrays["HcalBarrelHits.cellID"], arrays["HcalBarrelHits.time"]
    bar = cell & np.uint64((1 << 22) - 1)
    for event in range(5):
        columns = (ak.to_list(column[event]) for column in (linked, bar, time, of_photon))
        rows = list(zip(*columns, strict=True))
        deposits = {(p, b): t for p, b, t, photon in rows if not photon}
        origin, start = ak.to_list(parents[event]), ak.to_list(starts[event])
        assert all(t > deposits[(origin[start[p]], b)] for p, b, t, photon in rows if photon)


def test_leaving_photons_out_changes_nothing_else(sample, tmp_path):
    path, arguments = sample
    few = tmp_path / "few.root"
    assert main([*arguments, "--theta", "20", "160", "--no-photons", "-o", str(few)]) == 0
    with_photons, without = uproot.open(path)["events"], uproot.open(few)["events"]
    energy = with_photons["HcalBarrelHits.EDep"].array()
    bare = without["HcalBarrelHits.EDep"].array()
    assert ak.array_equal(energy[energy > 1e-6], bare)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"--events": "0"}, "events is 0; it must be at least 1"),
        ({"--seed": "-1"}, "seed is -1; it must be at least 0"),
        ({"--muons": "0"}, "muons per event is 0"),
        ({"--layers": "29"}, "layers is 29; the detector has 1 to 28"),
        ({"--thickness": "nan"}, "thickness is nan; it must be above 0"),
        ({"--decay-time": "0"}, "decay_time is 0.0; it must be a finite number above 0"),
        ({"--theta": "50 20"}, "theta is 50.0 to 20.0; it must rise"),
        ({"--momentum": "nan 3"}, "momentum is nan to 3.0; it must rise"),
        ({"-o": "."}, "is a folder; give the name of a file"),
    ],
)
def test_bad_arguments_end_with_two_and_a_sentence(change, complaint, capsys):
    options = {"--events": "3", "--seed": "1", "-o": "x.root"} | change
    words = [word for key, value in options.items() for word in (key, *value.split())]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error


def test_batches_differ_and_repeat():
    request = Request(2 * BATCH_EVENTS, 1, Gun(theta=(80, 100)))
    first, second = batch(request, 0), batch(request, 1)
    assert not np.array_equal(first.muons.z, second.muons.z)
    assert np.array_equal(first.photons.time, batch(request, 0).photons.time)

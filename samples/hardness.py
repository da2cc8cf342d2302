"""How hard a generated sample is to imitate, measured before any training.

Four questions: can a classifier tell the sample from a product of marginals, from a one-layer
affine flow; are its rank correlations, its tails those of full simulation.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
import uproot

from processors.classifier import SETTINGS
from processors.objects.derived import JET_DERIVED, MUON_DERIVED

__all__ = [
    "Table",
    "affine_imitation",
    "classifier_auc",
    "generator_hash",
    "main",
    "marginal_imitation",
    "matched_table",
    "rank_correlations",
    "tail_ratio",
]

logger = logging.getLogger(__name__)

AUC_MARGINALS, AUC_AFFINE = 0.95, 0.75
MAX_CORRELATION_DIFFERENCE, MAX_TAIL_FACTOR = 0.15, 2.0
PT_BINS, ETA_BINS = 6, 4
SENTINELS = (-10.0, -2.0, -1.0, 0.0, 1.0)
BOOTSTRAPS = 50
MAX_SPIKE, MIN_DISTINCT = 0.01, 100
STORED_PRECISION = 2.0**-7  # six mantissa bits, rounded
ROUNDING = 1e-3  # smaller values are rounding noise of the float format, e.g. muonSubtrFactor
GENERATOR_MODULES = (
    "ancestry", "flags", "generator", "genjets", "pileup", "production", "truth",
)  # fmt: skip
CONDITIONS = {
    "Jet": ("gen_pt", "gen_eta", "gen_mass", "gen_hadronFlavour"),
    "Muon": ("gen_pt", "gen_eta", "gen_charge"),
}
PARTNERS = {"Jet": ("GenJet", "genJetIdx"), "Muon": ("GenPart", "genPartIdx")}
INDICES = (
    "jetIdx", "genPartIdx", "genJetIdx", "genPartFlav", "pdgId", "mass", "muonIdx1", "muonIdx2",
    "electronIdx1", "electronIdx2", "puId", "phi",
)  # fmt: skip
# Not compared with other campaigns: their definition changed, or they are copies of the truth.
CAMPAIGN_COLUMNS = ("jetId", "partonFlavour", "hadronFlavour", "softMva", "mvaLowPt", "cleanmask")


class Table(NamedTuple):
    """Matched objects of one collection: reconstructed columns, ``gen_`` columns, ``(n,)`` each."""

    collection: str
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Number of matched objects."""
        return len(self.columns["gen_pt"])

    def take(self, rows: np.ndarray) -> Table:
        """Chosen rows."""
        return Table(self.collection, {k: v[rows] for k, v in self.columns.items()})


class Correlation(NamedTuple):
    """One entry of the rank-correlation matrices."""

    first: str
    second: str
    real: float
    generated: float
    error: float  # bootstrap standard deviation of the real side


def generator_hash() -> str:
    """SHA-256 over the sources that decide what a generated event looks like."""
    room = Path(__file__).resolve().parent
    shared = room.parent / "processors" / "objects"
    sources = [*sorted(room.glob("detector/*.py")), shared / "derived.py"]
    sources += [room / f"{name}.py" for name in GENERATOR_MODULES]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.relative_to(room.parent).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def matched_table(path: str | Path, collection: str, tree: str = "Events") -> Table:
    """Read the objects of ``collection`` that NanoAOD matches to a generator object.

    Arguments:
        path: NanoAOD file with generator collections.
        collection: ``Jet`` (partner: GenJet) or ``Muon`` (last-copy GenPart muon).
    Raises: KeyError if the file lacks the collection or its generator index.
    """
    gen_name, index = PARTNERS[collection]
    with uproot.open(path) as file:
        events = file[tree]
        names = events.keys(filter_name=f"{collection}_*")
        reco = {name[len(collection) + 1 :]: events[name].array() for name in names}
        wanted = ["pt", "eta", "phi", "mass"] + (
            ["hadronFlavour", "partonFlavour"] if collection == "Jet" else ["pdgId", "statusFlags"]
        )
        gen = {name: events[f"{gen_name}_{name}"].array() for name in wanted}
    partner = reco[index]
    good = (partner >= 0) & (partner < ak.num(gen["pt"]))
    columns = {
        name: ak.to_numpy(ak.flatten(values[good])).astype(np.float64)
        for name, values in reco.items()
    }
    for name, values in gen.items():
        columns[f"gen_{name}"] = ak.to_numpy(ak.flatten(values[partner[good]])).astype(np.float64)
    if collection == "Muon":
        columns["gen_charge"] = -np.sign(columns["gen_pdgId"])
    return Table(collection, columns)


def _targets(table: Table) -> dict[str, np.ndarray]:
    """Columns that a model must produce, in target units, derived ones left out."""
    derived = MUON_DERIVED if table.collection == "Muon" else JET_DERIVED
    gen = table.columns
    columns = {
        name: values
        for name, values in table.columns.items()
        if name not in derived and name not in INDICES and not name.startswith("gen_")
    }
    columns["pt"] = columns["pt"] / gen["gen_pt"]
    columns["eta"] = columns["eta"] - gen["gen_eta"]
    columns["dphi"] = (gen["phi"] - gen["gen_phi"] + np.pi) % (2 * np.pi) - np.pi
    if table.collection == "Jet":
        columns["mass_ratio"] = gen["mass"] / np.maximum(gen["gen_mass"], 0.1)
    else:
        columns["charge"] = columns["charge"] * gen["gen_charge"]
    return columns


def _conditions(table: Table) -> np.ndarray:
    chosen = [table.columns[name] for name in CONDITIONS[table.collection]]
    chosen[0] = np.log(chosen[0])
    return np.column_stack([*chosen, np.abs(chosen[1])])


def marginal_imitation(table: Table, rng: np.random.Generator) -> np.ndarray:
    """Targets with every column shuffled on its own inside (pt, |eta|) bins; ``(n, columns)``."""
    targets = np.column_stack(list(_targets(table).values()))
    pt, eta = table.columns["gen_pt"], np.abs(table.columns["gen_eta"])
    pt_bin = np.searchsorted(np.quantile(pt, np.linspace(0, 1, PT_BINS + 1)[1:-1]), pt)
    eta_bin = np.searchsorted(np.quantile(eta, np.linspace(0, 1, ETA_BINS + 1)[1:-1]), eta)
    code = pt_bin * ETA_BINS + eta_bin
    order = np.argsort(code, kind="stable")
    shuffled = np.empty_like(targets)
    for column in range(targets.shape[1]):
        within = np.lexsort((rng.random(len(code)), code))
        shuffled[order, column] = targets[within, column]
    return shuffled


def affine_imitation(table: Table, rng: np.random.Generator) -> np.ndarray:
    """Continuous targets drawn from a one-layer affine autoregressive flow; ``(n, columns)``.

    ``x_i = m_i(c, x_<i) + exp(s_i(c)) z`` with linear ``m`` (least squares) and ``s`` (linear fit
    of the logarithm of the residuals), ``z`` standard normal.
    """
    x, c = _continuous(table), _conditions(table)
    c = (c - c.mean(axis=0)) / (c.std(axis=0) + 1e-9)
    c = np.column_stack([np.ones(len(c)), c])
    mean, width = x.mean(axis=0), x.std(axis=0) + 1e-12
    x = (x - mean) / width
    drawn = np.empty_like(x)
    for i in range(x.shape[1]):
        inputs = np.column_stack([c, x[:, :i]])
        weights = np.linalg.lstsq(inputs, x[:, i], rcond=None)[0]
        residual = x[:, i] - inputs @ weights
        log_size = np.log(np.abs(residual) + 1e-4)
        scale = c @ np.linalg.lstsq(c, log_size, rcond=None)[0]
        scale += np.log(np.std(residual * np.exp(-scale)))
        z = rng.standard_normal(len(x))
        drawn[:, i] = np.column_stack([c, drawn[:, :i]]) @ weights + np.exp(scale) * z
    return drawn * width + mean


def _continuous(table: Table) -> np.ndarray:
    """Columns without spikes, blurred by less than their stored precision."""
    rng = np.random.default_rng(len(table))
    columns = []
    for values in _targets(table).values():
        spiked = np.isin(values, SENTINELS).mean() > MAX_SPIKE
        if not spiked and len(np.unique(values)) > MIN_DISTINCT:
            columns.append(values * (1 + STORED_PRECISION * rng.uniform(-1, 1, len(values))))
    return np.column_stack(columns)


def classifier_auc(truth: np.ndarray, imitation: np.ndarray, conditions: np.ndarray) -> float:
    """Area under the ROC curve of the stated classifier on the half it was not trained on."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    x = np.vstack([np.column_stack([conditions, a]) for a in (truth, imitation)])
    y = np.repeat([1, 0], [len(truth), len(imitation)])
    half = np.tile(np.arange(len(truth)) % 2 == 0, 2)
    model = HistGradientBoostingClassifier(**SETTINGS).fit(x[half], y[half])
    return float(roc_auc_score(y[~half], model.predict_proba(x[~half])[:, 1]))


def hardness(table: Table, seed: int = 0) -> tuple[float, float]:
    """AUC against the product of marginals, AUC against the affine flow."""
    rng = np.random.default_rng(seed)
    conditions = _conditions(table)
    targets = np.column_stack(list(_targets(table).values()))
    marginal = classifier_auc(targets, marginal_imitation(table, rng), conditions)
    affine = classifier_auc(_continuous(table), affine_imitation(table, rng), conditions)
    return marginal, affine


def _shared(first: Table, second: Table) -> list[str]:
    skip = set(INDICES) | set(CAMPAIGN_COLUMNS)
    return [
        name
        for name in first.columns
        if name in second.columns and name not in skip and not name.startswith("gen_")
        and np.ptp(first.columns[name]) > 0 and np.ptp(second.columns[name]) > 0
    ]  # fmt: skip


def _spearman(table: Table, names: Sequence[str]) -> np.ndarray:
    from scipy.stats import rankdata

    def rank(values: np.ndarray) -> np.ndarray:
        return rankdata(np.where(np.abs(values) < ROUNDING, 0.0, values))

    ranks = np.vstack([rank(table.columns[name]) for name in names])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.corrcoef(ranks))


def rank_correlations(generated: Table, real: Table, seed: int = 0) -> list[Correlation]:
    """Spearman coefficients of all shared columns on both sides, largest difference first."""
    names = _shared(real, generated)
    rng = np.random.default_rng(seed)
    theirs, ours = _spearman(real, names), _spearman(generated, names)
    draws = [
        _spearman(real.take(rng.integers(0, len(real), len(real))), names)
        for _ in range(BOOTSTRAPS)
    ]
    error = np.std(draws, axis=0)
    pairs = [
        Correlation(names[i], names[j], float(theirs[i, j]), float(ours[i, j]), float(error[i, j]))
        for i in range(len(names))
        for j in range(i)
    ]
    return sorted(pairs, key=lambda p: -abs(p.real - p.generated))


def tail_ratio(values: np.ndarray) -> float:
    """q99.9/q84 of ``|x - median|`` outside the sentinels; NaN with fewer than 50 values."""
    part = values[~np.isin(values, SENTINELS) & (np.abs(values) > ROUNDING)]
    if len(part) < 50:
        return float("nan")
    far = np.abs(part - np.median(part))
    body, tail = np.quantile(far, [0.84, 0.999])
    return float(tail / body) if body > 0 else float("nan")


def _tail_lines(generated: Table, real: Table, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = []
    for name in _shared(real, generated):
        theirs = tail_ratio(real.columns[name])
        if not np.isfinite(theirs) or len(np.unique(real.columns[name])) < 30:
            continue
        size = len(real)
        ours = [
            tail_ratio(generated.columns[name][rng.integers(0, len(generated), size)])
            for _ in range(BOOTSTRAPS)
        ]
        middle = float(np.nanmedian(ours))
        low, high = (float(q) / theirs for q in np.nanquantile(ours, [0.16, 0.84]))
        factor = middle / theirs
        verdict = "" if 1 / MAX_TAIL_FACTOR <= factor <= MAX_TAIL_FACTOR else "  outside"
        lines.append(
            f"  {name:18s} real {theirs:7.2f}  generated {middle:7.2f}"
            f"  factor {factor:5.2f} ({low:.2f} to {high:.2f}){verdict}"
        )
    return lines


def merge(tables: Sequence[Table]) -> Table:
    """Objects of several files, with the columns that all have."""
    names = set.intersection(*(set(table.columns) for table in tables))
    columns = {
        name: np.concatenate([table.columns[name] for table in tables])
        for name in tables[0].columns
        if name in names
    }
    return Table(tables[0].collection, columns)


def report(path: str | Path, real: Sequence[str | Path]) -> str:
    """The whole table as text."""
    lines = [f"generator {generator_hash()}"]
    for collection in ("Jet", "Muon"):
        table = matched_table(path, collection)
        marginal, affine = hardness(table)
        lines += [
            f"{collection}: {len(table)} matched objects of {Path(path).name}",
            f"  AUC against a product of marginals {marginal:.3f} (wanted: {AUC_MARGINALS})",
            f"  AUC against a one-layer affine flow {affine:.3f} (wanted: {AUC_AFFINE})",
        ]
        files = real[:1] if collection == "Jet" else real
        other = merge([matched_table(file, collection) for file in files])
        pairs = rank_correlations(table, other)
        limit = MAX_CORRELATION_DIFFERENCE
        far = [p for p in pairs if abs(p.real - p.generated) > limit]
        beyond = [p for p in far if abs(p.real - p.generated) > limit + 2 * p.error]
        lines.append(
            f"  rank correlations against {len(other)} real objects: {len(far)} of {len(pairs)}"
            f" differ by more than {limit}, {len(beyond)} of them by 2 standard errors more"
        )
        lines += [
            f"    {p.first:20s} {p.second:20s} real {p.real:5.2f} +- {p.error:4.2f}"
            f"  generated {p.generated:5.2f}"
            for p in pairs[: max(5, len(far))]
        ]
        lines += ["  tails, q99.9/q84 of |x - median|:", *_tail_lines(table, other)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the hardness table of a generated file."""
    parser = argparse.ArgumentParser(prog="python -m samples.hardness", description=__doc__)
    parser.add_argument("file", type=Path, help="generated NanoAOD file")
    parser.add_argument(
        "--real", type=Path, nargs="+", required=True,
        help="full-simulation NanoAOD files: jets from the first, muons from all",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    sys.stdout.write(report(arguments.file, arguments.real) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The verdict's promises re-proved: an independent draw of the same species, copies of rows, splits, and columns by the thousand.

    python benchmarks/verdict.py [--workdir DIR] [--runs 1000] [--only copies,splits,guard,draw]

The draw is made from the real table: of every species each nominal column for itself, values as often as there, and numbers together from
a normal distribution with the same means and covariances: within a species a large cap has a long and wide stem (correlations of 0.5 to
0.7). The model is the one in production in the work directory (by default: this project's).
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.linear_model import LogisticRegression

from measure import say
from sporeprint import settings
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.splitting import CopyNumbers, draws, parts, repeated, row_hashes
from sporeprint.registry.registry import Registry
from sporeprint.safety.calibration import fit_calibration
from sporeprint.safety.decision_rule import fit_guard, unit_representatives
from sporeprint.safety.risk_control import RiskLevels, candidate_thresholds, choose_threshold
from sporeprint.safety.threshold_simulation import simulate_threshold
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN, is_familiar
from sporeprint.schema import Column, DatasetSchema, Kind, Target

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 353
PARTS = ("train", "calibration", "threshold")


def second_draw(frame: pl.DataFrame, config: settings.Settings, seed: int) -> pl.DataFrame:
    """As many rows of each species, drawn anew."""
    random, parts = np.random.default_rng(seed), []
    for start in range(0, frame.height, BLOCK):
        block = frame[start : start + BLOCK]
        measured = [name for name in config.dataset.numeric if block[name].count()]
        numbers = block.select(measured).to_numpy().astype(np.float64)
        filled = np.where(np.isnan(numbers), np.nanmean(numbers, axis=0), numbers)
        drawn = random.multivariate_normal(filled.mean(axis=0), np.atleast_2d(np.cov(filled.T)), len(block)).round(2)
        drawn = np.maximum(drawn, np.minimum(np.nanmin(numbers, axis=0), 0.01))
        columns: dict[str, pl.Series] = {}
        for name in block.columns:
            if name in measured:
                empty = block[name].is_null().to_numpy()[random.permutation(len(block))]
                columns[name] = pl.Series(name, np.where(empty, np.nan, drawn[:, measured.index(name)]), pl.Float64)
            elif name in config.dataset.numeric:
                columns[name] = pl.Series(name, [None] * len(block), pl.Float64)
            else:
                columns[name] = block[name].gather(random.integers(0, len(block), len(block)))
        parts.append(pl.DataFrame(columns).fill_nan(None))
    return pl.concat(parts)


def independent(workdir: Path, config: settings.Settings) -> dict[str, object]:
    """False edible and coverage of the production model on three draws."""
    bundle = Registry(workdir / "models/registry").load("production")
    frame = pl.read_csv(ROOT / config.source.path, separator=";")
    counts = np.zeros(5, dtype=int)
    for seed in (1, 2, 3):
        drawn = second_draw(frame, config, seed)
        y = (drawn["class"] == "p").to_numpy()
        verdict = bundle.predictions(Codes.of(drawn, bundle.schema)).verdict
        negative, positive = verdict == NEGATIVE, verdict == POSITIVE
        counts += [len(y), (verdict != UNKNOWN).sum(), negative.sum(), (negative & y).sum(), (positive & ~y).sum()]
    rows, answered, edible, false_edible, false_poisonous = counts.tolist()
    return {
        "model": bundle.name,
        "answered": f"{answered:,} of {rows:,} ({answered / rows:.2%})",
        "false edible": f"{false_edible} of {edible:,}",
        "false poisonous": false_poisonous,
    }


def copies(runs: int) -> dict[str, str]:
    """Runs whose promise is broken, with rows copied so often: every row counted, and every different row."""
    levels = RiskLevels(0.01, 1.0, 0.05)
    found = {}
    for times in (1, 2, 5, 20, 125):
        one = simulate_threshold(levels, rows=2000 * times, copies=times, runs=runs, seed=20201107)
        found[f"{times} x"] = f"{one.broken_by_rows / runs:.1%} by rows, {one.broken_by_units / runs:.1%} by different rows"
    return found


def splits(runs: int) -> dict[str, str]:
    """Splits whose promise is broken: rows that repeat with labels by chance, from the product's own split to its threshold.

    The true risk of every row is known, so the promise is held against all rows below the threshold, not against a sample.
    """
    shares = settings.load_settings(ROOT / "config/config.yaml", environ={}).split.shares
    levels, found = RiskLevels(0.2, 1.0, 0.05), {}
    for times in (1, 2, 5, 20, 125):
        broken = answering = 0
        for run in range(runs):
            random = np.random.default_rng([times, run])
            features = random.normal(size=(4000 // times, 3)).round(3)
            risk = 1 / (1 + np.exp(0.7 - features @ np.array([1.0, -0.8, 0.5])))
            row = random.permutation(np.repeat(np.arange(len(features)), times))
            y = (random.random(len(row)) < risk[row]).astype(np.int8)
            table = Codes({}, {}, {f"c{place}": features[row, place] for place in range(3)}, len(row))
            hashes = row_hashes(table, seed=run)
            again = repeated(partial(iter, [hashes]), len(row))[0]
            part = parts(draws(hashes, CopyNumbers(again)(hashes)), y.astype(np.int64), shares)
            rows = Observations(table, y, np.arange(len(row)), None, hashes)
            train, calibrate, test = (rows.take(np.flatnonzero(part == list(shares).index(name))) for name in PARTS)
            model = LogisticRegression().fit(features[row[train.row]], train.y)
            score = model.predict_proba(features)[:, 1]
            calibrate, test = (each.take(unit_representatives(each)) for each in (calibrate, test))
            calibration = fit_calibration(score[row[calibrate.row]], calibrate.y, "platt")
            p = calibration(score)
            candidates = candidate_thresholds(p[row[calibrate.row]], rows=len(test.y), alpha=levels.alpha, delta=levels.delta)
            chosen = choose_threshold(p[row[test.row]], test.y, candidates, levels, positives=int(test.y.sum())).value
            if chosen is not None and (p <= chosen).any():
                answering += 1
                broken += bool(risk[p <= chosen].mean() > levels.alpha)
        found[f"{times} x"] = f"{broken / runs:.1%} of {runs:,}; a threshold in {answering / runs:.0%}"
    return found


def coverage() -> dict[str, float]:
    """Share of rows that the guard knows where 95 % are asked for, by the number of numeric columns."""
    found, random = {}, np.random.default_rng(7)
    for columns in (5, 20, 60, 500, 2000):
        schema = DatasetSchema(
            name="wide",
            target=Target(column="class", values={"e": "edible", "p": "poisonous"}, positive="p"),
            columns={f"c{number}": Column(kind=Kind.NUMERIC) for number in range(columns)},
        )
        reached = []
        for _ in range(5):
            numbers: npt.NDArray[np.float64] = random.normal(size=(1800, columns))
            table = Codes({}, {}, {f"c{number}": numbers[:, number] for number in range(columns)}, 1800)
            y = (random.random(1800) < 0.5).astype(np.int8)
            rows = Observations(table, y, np.arange(1800), None, np.arange(1800, dtype=np.uint64))
            known, calibrate, test = (rows.take(np.arange(a, b)) for a, b in ((0, 400), (400, 1000), (1000, 1800)))
            guard = fit_guard(known, calibrate, schema, settings.GuardSettings(coverage=0.95, clusters=4), seed=1)
            reached.append(float(np.asarray(is_familiar(guard.novelty(test.codes).p, 0.95)).mean()))
        found[f"{columns} columns"] = round(float(np.mean(reached)), 3)
    return found


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=ROOT)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="copies,splits,guard,draw")
    given = parser.parse_args()
    config, only = settings.load_settings(ROOT / "config/config.yaml"), given.only.split(",")
    if "copies" in only:
        say("promise broken, risk a little above alpha", copies(given.runs))
    if "splits" in only:
        say("promise broken in splits of rows that repeat", splits(given.runs))
    if "guard" in only:
        say("guard, 0.95 asked for", coverage())
    if "draw" in only:
        say("an independent draw of the same species", independent(given.workdir, config))


if __name__ == "__main__":
    main()

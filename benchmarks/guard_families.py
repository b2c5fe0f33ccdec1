"""Four families of guard on the same question: rows of a species that was left out, told from rows of the others.

    python benchmarks/guard_families.py [--families species naive clusters neighbour leaves]

All 61,069 rows, one species left out at a time (`leaves`: 20 folds of species, as a forest has to be fitted anew), fitted on the train
and early_stop parts, calibrated on the calibration part without the species' rows. A row gets the class of what it is most like.

* species: one product distribution a species, measured from its own rows' median (what sporeprint does)
* naive: the same with add-one smoothing and no centring, as in a naive Bayes classifier
* clusters: the same for 200 clusters of one class each, found without the species (what sporeprint does without groups)
* neighbour: the nearest training row; nominal values that differ, and numbers in standard deviations, at most one each
* leaves: leaf co-occurrence: the share of 100 trees (depth 8) of a random forest in which the row shares its leaf with some training row,
  of at most 50 a species
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from measure import say
from sporeprint import settings
from sporeprint.data import splitting as split
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.safety import novelty_guard
from sporeprint.safety.mixture import cluster_components
from sporeprint.safety.novelty_guard import Guard, fit_components

ROOT = Path(__file__).resolve().parents[1]
Float64 = npt.NDArray[np.float64]
#: How typical each of n rows is, and the class of what it is most like.
Judged = tuple[Float64, npt.NDArray[np.bool_]]


def real_rows(config: settings.Settings) -> Observations:
    """The real table with its species and its parts."""
    frame = pl.read_csv(ROOT / config.source.path, separator=";")
    codes, y = Codes.of(frame, config.dataset), (frame["class"] == "p").to_numpy().astype(np.int8)
    group = np.arange(frame.height) // 353
    hashes = split.row_hashes(codes, seed=config.split.seed)
    return Observations(codes, y, np.arange(frame.height), group, hashes, split.parts(hashes, group, config.split.shares))


def by_components(judge: Callable[[Observations], Guard], known: Observations, rows: list[Observations]) -> list[Judged]:
    fitted = judge(known)
    found = [fitted.novelty(table.codes) for table in rows]
    return [(item.typicality, fitted.positive[item.component] > 0.5) for item in found]


def species(known: Observations, rows: list[Observations], config: settings.Settings) -> list[Judged]:
    assert known.group is not None
    names, component = np.unique(known.group, return_inverse=True)
    return by_components(lambda table: fit_components(table.codes, table.y, component, names, config.dataset), known, rows)


def naive(known: Observations, rows: list[Observations], config: settings.Settings) -> list[Judged]:
    assert known.group is not None
    names, component = np.unique(known.group, return_inverse=True)
    before = novelty_guard.PSEUDO_COUNT
    novelty_guard.PSEUDO_COUNT = 1.0  # the one thing that this family does otherwise, beside the centre
    try:
        fitted = fit_components(known.codes, known.y, component, names, config.dataset)
    finally:
        novelty_guard.PSEUDO_COUNT = before
    fitted.weights[0] = 0.0
    return by_components(lambda _: fitted, known, rows)


def clusters(known: Observations, rows: list[Observations], config: settings.Settings) -> list[Judged]:
    component, names = cluster_components(known.codes, known.y, config.dataset, clusters=200, seed=1)
    return by_components(lambda table: fit_components(table.codes, table.y, component, names, config.dataset), known, rows)


def encoded(rows: Observations, scale: dict[str, float]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """One-hot values with missing as one, and numbers in standard deviations."""
    hot = np.hstack([np.eye(len(rows.codes.vocabulary[name]) + 1, dtype=np.float32)[values] for name, values in rows.codes.nominal.items()])
    return hot, np.column_stack([values / scale[name] for name, values in rows.codes.numeric.items()]).astype(np.float32)


def neighbour(known: Observations, rows: list[Observations], config: settings.Settings) -> list[Judged]:
    scale = {name: float(np.nanstd(known.codes.numeric[name])) for name in config.dataset.numeric}
    hot, numbers = encoded(known, scale)
    found = []
    for table in rows:
        mine, mine_numbers = encoded(table, scale)
        nearest, place = np.empty(len(table.y)), np.empty(len(table.y), dtype=np.intp)
        for at in range(0, len(table.y), 512):
            far = len(config.dataset.nominal) - mine[at : at + 512] @ hot.T
            for number in range(numbers.shape[1]):
                far += np.minimum(np.abs(mine_numbers[at : at + 512, number, None] - numbers[:, number]), 1)
            place[at : at + 512] = far.argmin(axis=1)
            nearest[at : at + 512] = far.min(axis=1)
        found.append((-nearest, known.y[place] == 1))
    return found


def leaves(known: Observations, rows: list[Observations], config: settings.Settings) -> list[Judged]:
    assert known.group is not None
    scale = dict.fromkeys(config.dataset.numeric, 1.0)
    forest = RandomForestClassifier(100, max_depth=8, random_state=1)
    X = np.hstack(encoded(known, scale))
    forest.fit(X, known.y)
    kept = np.concatenate([np.flatnonzero(known.group == group)[:50] for group in np.unique(known.group)])
    ends = np.cumsum([0, *(tree.tree_.node_count for tree in forest.estimators_)])

    def hot(X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found = np.zeros((len(X), ends[-1]), dtype=np.float32)
        found[np.arange(len(X))[:, None], forest.apply(X) + ends[:-1]] = 1
        return found

    there, found = hot(X[kept]).T.copy(), []
    for table in rows:
        mine = np.hstack(encoded(table, scale))
        parts = [hot(mine[at : at + 512]) @ there for at in range(0, len(mine), 512)]
        shared = np.concatenate([part.max(axis=1) for part in parts])
        found.append((shared.astype(np.float64), known.y[kept[np.concatenate([part.argmax(axis=1) for part in parts])]] == 1))
    return found


FAMILIES = {"species": species, "naive": naive, "clusters": clusters, "neighbour": neighbour, "leaves": leaves}


def left_out(name: str, rows: Observations) -> Iterator[npt.NDArray[np.bool_]]:
    assert rows.group is not None
    for number in range(20 if name == "leaves" else 173):
        yield rows.group % 20 == number if name == "leaves" else rows.group == number


def measured(name: str, rows: Observations, config: settings.Settings) -> dict[str, object]:
    assert rows.part is not None
    part, n = rows.part, len(rows.y)
    typicality, positive, p = np.empty(n), np.empty(n, dtype=bool), np.empty(n)
    began = time.process_time()
    for out in left_out(name, rows):
        known, calibrate = (rows.take(np.flatnonzero(~out & chosen)) for chosen in (part <= 1, part == 2))
        (typicality[out], positive[out]), (seen, _) = FAMILIES[name](known, [rows.take(np.flatnonzero(out)), calibrate], config)
        p[out] = (1 + np.searchsorted(np.sort(seen), typicality[out], side="right")) / (len(seen) + 1)
    cpu = time.process_time() - began
    everyone = rows.take(np.flatnonzero(part <= 1))
    ((seen, _),) = FAMILIES[name](everyone, [rows.take(np.flatnonzero(part > 1))], config)
    auc = roc_auc_score(np.r_[np.ones(n), np.zeros(len(seen))], -np.r_[typicality, seen])
    passed = {
        f"{at:g}": {"answered": int((p > 1 - at).sum()), "false_edible": int(((p > 1 - at) & ~positive & (rows.y == 1)).sum())}
        for at in (0.9, 0.99, 0.995, 0.999)
    }
    return {"novelty_auc": round(float(auc), 4), "at_coverage": passed, "cpu_s": round(cpu, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    given = parser.parse_args()
    config = settings.load_settings(ROOT / "config/config.yaml", environ={})
    rows = real_rows(config)
    for name in given.families:
        say(f"guard, {name}", measured(name, rows, config))


if __name__ == "__main__":
    main()

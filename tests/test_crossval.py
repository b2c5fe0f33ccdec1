"""No row is scored by anything that was fitted on its group."""

import numpy as np
import polars as pl

from sporeprint.codes import Codes
from sporeprint.crossval import held_out_scores
from sporeprint.observations import Observations
from sporeprint.settings import ModelSettings, TransformSettings
from sporeprint.split import row_hashes
from support import NUMERIC, OPEN, dataset

SCHEMA = dataset({"mark": OPEN, "width": NUMERIC}, groups={"name": "species", "block_rows": 20})
MODELS = {
    "tree": ModelSettings(estimator="sklearn.tree.DecisionTreeClassifier", nominal="ordinal", numeric="none"),
    "xgboost": ModelSettings(estimator="xgboost", nominal="ordinal", numeric="none", rounds=5, early_stopping_rounds=2),
}


def table(groups: int = 12, size: int = 20) -> Observations:
    """Each group has a mark of its own and one class: who has met the mark knows the class, nobody else can."""
    draw = np.random.default_rng(5)
    group = np.repeat(np.arange(groups), size)
    y = (group % 2).astype(np.int8)
    frame = pl.DataFrame({"mark": [f"mark{number}" for number in group], "width": draw.normal(size=len(group))})
    codes = Codes.of(frame, SCHEMA)
    return Observations(codes, y, np.arange(len(y)), group, row_hashes(codes, y, seed=1))


def scores(rows: Observations, fold: np.ndarray) -> dict[str, np.ndarray]:
    stop = np.arange(len(rows.y)) % 5 == 0
    return held_out_scores(rows, fold, ~stop, stop, MODELS, TransformSettings(), SCHEMA, seed=3, threads=1)


def test_a_mark_that_gives_the_class_away_is_of_no_use_once_its_group_is_held_out() -> None:
    rows = table()
    assert rows.group is not None
    by_group = scores(rows, rows.group % 4)
    by_row = scores(rows, np.arange(len(rows.y)) % 4)
    for name in MODELS:
        assert ((by_row[name] > 0.5) == rows.y).mean() > 0.95, name
        # A group's rows differ only in noise: what is said of them has nothing to do with their class.
        assert 0.2 < ((by_group[name] > 0.5) == rows.y).mean() < 0.8, name


def test_every_row_is_scored_once_and_the_labels_of_its_own_fold_do_not_matter() -> None:
    rows = table()
    assert rows.group is not None
    fold = rows.group % 3
    before = scores(rows, fold)
    flipped = np.where(fold == 0, 1, rows.y).astype(np.int8)
    other = Observations(rows.codes, flipped, rows.row, rows.group, rows.row_hash)
    after = scores(other, fold)
    for name in MODELS:
        assert np.isfinite(before[name]).all()
        np.testing.assert_array_equal(before[name][fold == 0], after[name][fold == 0])
    assert any((before[name][fold != 0] != after[name][fold != 0]).any() for name in MODELS)


def test_the_same_seed_gives_the_same_scores() -> None:
    rows = table()
    assert rows.group is not None
    first, second = scores(rows, rows.group % 3), scores(rows, rows.group % 3)
    assert all(np.array_equal(first[name], second[name]) for name in MODELS)

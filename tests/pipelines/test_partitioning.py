"""Rows shared out by themselves, by groups, in time, or as a column says."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sporeprint import settings
from sporeprint.errors import ConfigError, DataError
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.transform import run_transform
from table_cases import CONFIG, csv, loans

SHARES = {"train": 0.5, "early_stop": 0.1, "calibration": 0.1, "threshold": 0.15, "test": 0.15}
PARTS = tuple(SHARES)


def parts(tmp_path: Path, split: dict[str, Any], more: dict[str, list[Any]] | None = None, **dataset: Any) -> pl.DataFrame:
    """`_row`, `_part` and what the table holds, of every row, in the order of the table."""
    table = {**loans(), **(more or {})}
    (tmp_path / "loans.csv").write_text(csv(table), encoding="utf-8")
    chosen = settings.parse({**CONFIG, "dataset": {**CONFIG["dataset"], **dataset}, "split": split})
    run_extract(chosen, tmp_path)
    run_transform(chosen, tmp_path)
    names = ("train", "validation", "test")
    files = [pl.read_parquet(tmp_path / f"data/staging/{name}.parquet", columns=["_row", "_part"]) for name in names]
    staged = pl.concat([file.cast({"_part": pl.String}) for file in files])
    return staged.sort("_row").hstack(pl.DataFrame(table))


def test_rows_have_their_shares_of_both_classes(tmp_path: Path) -> None:
    found = parts(tmp_path, {})
    for label in (0, 1):
        shares = found.filter(late=label)["_part"].value_counts(normalize=True)
        assert dict(shares.iter_rows()) == pytest.approx(SHARES, abs=0.01)


def test_the_label_does_not_decide_the_part(tmp_path: Path) -> None:
    before = parts(tmp_path, {})
    other = [1 - label if row % 50 == 0 else label for row, label in enumerate(loans()["late"])]
    after = parts(tmp_path, {}, {"late": other})
    # A row whose label turns goes to the other class's turn of the same hash: nearly the same cut.
    assert np.mean((before["_part"] == after["_part"]).to_numpy()) > 0.9


def test_whole_groups(tmp_path: Path) -> None:
    patient = [row % 60 for row in range(600)]
    found = parts(tmp_path, {"by": "groups"}, {"patient": patient}, groups={"name": "patient", "column": "patient"})
    assert found.group_by("patient").agg(pl.col("_part").n_unique())["_part"].max() == 1
    assert set(found["_part"]) == set(PARTS)


def test_the_latest_rows_are_tested_on(tmp_path: Path) -> None:
    for day in ([number // 3 for number in range(600)], [f"2026-{1 + number // 60:02}-{1 + number % 28:02}" for number in range(600)]):
        found = parts(tmp_path, {"by": "time", "column": "day"}, {"day": day})
        span = found.group_by("_part").agg(low=pl.col("day").min(), high=pl.col("day").max())
        bounds = {part: (low, high) for part, low, high in span.iter_rows()}
        assert all(bounds[before][1] < bounds[after][0] for before, after in itertools.pairwise(PARTS))


def test_a_column_names_the_parts(tmp_path: Path) -> None:
    names = ["Test" if row % 5 == 0 else "train" for row in range(600)]
    found = parts(tmp_path, {"by": "column", "column": "set"}, {"set": names})
    assert (found["_part"] == "test").to_list() == [name == "Test" for name in names]
    assert set(found["_part"]) == set(PARTS)
    three = ["test" if row % 5 == 0 else "val" if row % 5 == 1 else "train" for row in range(600)]
    found = parts(tmp_path, {"by": "column", "column": "set"}, {"set": three})
    assert set(found.filter(set="val")["_part"]) == {"early_stop", "calibration", "threshold"}
    assert set(found.filter(set="train")["_part"]) == {"train"}


@pytest.mark.parametrize(
    ("split", "more", "message"),
    [
        ({"by": "column", "column": "set"}, {"set": ["new"] * 600}, "holds 'new', which is no part; allowed are train, early_stop"),
        ({"by": "time", "column": "day"}, {"day": ["soon"] * 600}, "'day' holds 'soon', which is neither a number nor an ISO date"),
        ({"by": "time", "column": "day"}, {"day": [1] * 600}, "split.by: time leaves the part 'train' without a row of class"),
        ({"by": "time", "column": "day"}, {"day": [None] * 600}, "600 of 600 rows are rejected .* required:day"),
        ({"by": "time", "column": "year"}, {}, "missing: 'year'"),
    ],
)
def test_what_cannot_be_split_is_said(split: dict[str, Any], more: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        parts(tmp_path, split, more)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"by": "groups"}, "split.by: groups needs dataset.groups"),
        ({"by": "time"}, "'column' goes with by: time"),
        ({"column": "x"}, "'column' goes with"),
    ],
)
def test_settings_that_do_not_go_together(split: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings.parse({**CONFIG, "split": split})


def test_equal_rows_with_both_labels_are_in_every_part(tmp_path: Path) -> None:
    """32 different rows, the label by chance: each part has them all, so that test rows are like those that were learned from."""
    draw = np.random.default_rng(1)
    rows = draw.integers(0, 8, 600)
    table = {"income": rows.tolist(), "product": [f"p{number % 4}" for number in rows], "late": draw.integers(0, 2, 600).tolist()}
    found = parts(tmp_path, {}, table)
    shares = found.group_by("income").agg((pl.col("_part") == "test").mean())["_part"].to_numpy()
    assert shares.min() > 0.05
    assert shares.max() < 0.3
    for label in (0, 1):
        test = found.filter((pl.col("late") == label) & (pl.col("_part") == "test"))
        assert test["income"].n_unique() == 8

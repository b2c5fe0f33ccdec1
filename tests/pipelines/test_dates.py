"""Columns of dates, from the draft to the verdict and its reasons."""

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sporeprint import settings
from sporeprint.errors import ConfigError, DataError
from sporeprint.inference.model import Model
from sporeprint.inference.predictor import explain_row, parse_row
from sporeprint.inference.table_scoring import class_probabilities
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.pipelines.draft import draft_configuration, write_draft
from sporeprint.pipelines.etl import run_etl
from sporeprint.registry.registry import Registry
from sporeprint.schema import Column, DatasetSchema, Kind, day_number
from table_cases import CONFIG, csv, loans

FORMAT = "%d.%m.%Y"


def dated(rows: int = 600) -> dict[str, list[Any]]:
    """Loans with the day each was asked for, and the day it was opened; those asked for in winter are paid late."""
    draw, table = np.random.default_rng(1), loans(rows)
    asked = [dt.date(2021, 1, 1) + dt.timedelta(days=int(day)) for day in draw.integers(0, 1000, rows)]
    opened = [day + dt.timedelta(days=int(wait)) for day, wait in zip(asked, draw.integers(1, 60, rows), strict=True)]
    late = [int(day.month in (11, 12, 1, 2)) if draw.random() < 0.9 else 1 - value for day, value in zip(asked, table["late"], strict=True)]
    return {
        "income": table["income"],
        "asked": [day.strftime(FORMAT) for day in asked],
        "opened": [f"{day.isoformat()}T{8 + row % 9:02d}:30:00" for row, day in enumerate(opened)],
        "late": late,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """A work directory with a model of dates in production, drafted and trained without an edit."""
    root = tmp_path_factory.mktemp("dates")
    (root / "loans.csv").write_text(csv(dated()))
    chosen = write_draft(draft_configuration(str(root / "loans.csv"), root), root / "config/config.yaml")
    overrides = ["runtime.threads=1", "evaluation.replicates=100", "dataset.columns.opened.since=asked", "models.xgboost.rounds=60"]
    result = run_etl(settings.load_settings(root / "config/config.yaml", environ={}, overrides=overrides), root)
    assert chosen.dataset.columns["asked"] == Column(kind=Kind.DATE, format=FORMAT)
    assert chosen.dataset.columns["opened"] == Column(kind=Kind.DATE)
    return root, Model(Registry(root / "models/registry").load(str(result.registered.production)), str(result.registered.production))


def test_the_month_of_a_date_is_learned(trained: tuple[Path, Model]) -> None:
    _, model = trained
    found = model.evaluate(pl.DataFrame({name: [str(value) for value in values] for name, values in dated().items()}))
    assert found["roc_auc"] > 0.85


def test_one_row_a_frame_of_dates_and_a_file_are_scored_alike(trained: tuple[Path, Model], tmp_path: Path) -> None:
    root, model = trained
    bundle, table = model.bundle, dated()
    texts = pl.DataFrame({name: table[name][:20] for name in ("income", "asked", "opened")})
    typed = texts.with_columns(pl.col("asked").str.to_date(FORMAT), pl.col("opened").str.to_datetime())
    expected = class_probabilities(bundle, texts)[:, 1]
    np.testing.assert_array_equal(class_probabilities(bundle, typed)[:, 1], expected)
    np.testing.assert_array_equal(class_probabilities(bundle, typed.to_pandas())[:, 1], expected)
    rows = [parse_row(row, bundle.schema) for row in texts.iter_rows(named=True)]
    encoded = np.array([bundle.encoder.encode_row(row) for row in rows])
    np.testing.assert_allclose(bundle.safety.calibration(bundle.scorer.score(encoded)), expected, atol=1e-12)
    texts.write_csv(tmp_path / "today.csv")
    predict(root, tmp_path / "today.csv", tmp_path / "answers.csv")
    assert pl.read_csv(tmp_path / "answers.csv")["probability"].to_list() == pytest.approx(expected.tolist(), abs=1e-9)


def test_a_reason_names_the_date(trained: tuple[Path, Model]) -> None:
    bundle = trained[1].bundle
    row = parse_row({"income": 2000, "asked": "2021-12-24", "opened": "2022-01-03T12:00"}, bundle.schema)
    assert row["opened"] == 10.5
    texts = {reason.text for reason in explain_row(bundle, row, most=9).attributions}
    assert {"asked: 2021-12-24", "opened: 10.5 days"} <= texts


@pytest.mark.parametrize("value", ["24/12/2021", "2021-13-01", "tomorrow", "2021", 2021, True, 19_000.5])
def test_what_is_no_date_is_refused(value: Any, trained: tuple[Path, Model]) -> None:
    with pytest.raises(DataError, match=r"field 'asked': expected a date as '%d.%m.%Y' or 2024-03-05 says, got"):
        parse_row({"asked": value}, trained[1].bundle.schema)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ({"kind": "numeric", "format": "%Y"}, "'format' and 'since' are of date columns"),
        ({"kind": "date", "since": "income"}, "'income' is neither a date such as 2024-01-01 nor another date column"),
        ({"kind": "date", "format": "%d.%m."}, "has no year"),
        ({"kind": "date", "values": {"a": "b"}}, "a date column has no 'values'"),
        ({"kind": "date", "decimal": ","}, "of numeric columns"),
        ({"kind": "date", "min": "2021-02-30"}, "day"),
    ],
)
def test_settings_of_a_date_are_checked(column: dict[str, Any], text: str) -> None:
    raw = {**CONFIG, "dataset": {**CONFIG["dataset"], "columns": {"income": {"kind": "numeric"}, "day": column}}}
    with pytest.raises(ConfigError, match=text):
        settings.parse(raw)


def test_dates_have_limits() -> None:
    columns = {"day": {"kind": "date", "min": "2020-01-01"}}
    schema = DatasetSchema.model_validate({**CONFIG["dataset"], "columns": columns})
    assert schema.columns["day"].min == day_number("2020-01-01")
    with pytest.raises(DataError, match="field 'day': 2019-12-31 is out of range, allowed is at least 2020-01-01"):
        parse_row({"day": "2019-12-31"}, schema)


def test_days_are_counted_from_a_fixed_date() -> None:
    schema = DatasetSchema.model_validate({**CONFIG["dataset"], "columns": {"day": {"kind": "date", "since": "2020-01-01"}}})
    assert parse_row({"day": "2020-03-01"}, schema) == {"day": 60.0}
    assert math.isclose(float(str(parse_row({"day": "2020-03-01T06:00+01:00"}, schema)["day"])), 60 + 5 / 24)

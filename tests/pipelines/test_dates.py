"""Columns of dates, and numbers written as 1.299,50, from the draft to the verdict, the monitor and retraining."""

import datetime as dt
import io
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from journal_support import until
from serving_support import Client
from sporeprint import settings
from sporeprint.errors import ConfigError, DataError
from sporeprint.inference.model import Model
from sporeprint.inference.predictor import explain_row, parse_row
from sporeprint.inference.table_scoring import class_probabilities
from sporeprint.model_serving.api import create_app
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.pipelines.draft import draft_configuration, write_draft
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.load import run_load
from sporeprint.pipelines.monitoring import monitor
from sporeprint.pipelines.retraining import retrain
from sporeprint.pipelines.transform import run_transform
from sporeprint.registry.registry import Registry
from sporeprint.schema import Column, DatasetSchema, Kind, day_number
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from table_cases import CONFIG, csv, loans

FORMAT, DIGITS = "%d.%m.%Y", "%Y%m%d"
OVERRIDES = ["runtime.threads=1", "evaluation.replicates=100", "dataset.columns.opened.since=asked", "models.xgboost.rounds=60"]
FEATURES = ("income", "paid", "asked", "opened")


def written(value: float) -> str:
    """A number as a German table has it."""
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def number(text: str) -> float:
    """A number that was written so."""
    return float(text.replace(".", "").replace(",", "."))


def dated(rows: int = 600) -> dict[str, list[Any]]:
    """Loans with the day each was asked for, and the day it was opened; those asked for in winter are paid late."""
    draw, table = np.random.default_rng(1), loans(rows)
    asked = [dt.date(2021, 1, 1) + dt.timedelta(days=int(day)) for day in draw.integers(0, 1000, rows)]
    opened = [day + dt.timedelta(days=int(wait)) for day, wait in zip(asked, draw.integers(1, 60, rows), strict=True)]
    late = [int(day.month in (11, 12, 1, 2)) if draw.random() < 0.9 else 1 - value for day, value in zip(asked, table["late"], strict=True)]
    return {
        "income": [written(income) for income in table["income"]],
        "paid": [(day + dt.timedelta(days=400)).strftime(DIGITS) for day in opened],
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
    result = run_etl(settings.load_settings(root / "config/config.yaml", environ={}, overrides=OVERRIDES), root)
    assert chosen.dataset.columns["asked"] == Column(kind=Kind.DATE, format=FORMAT)
    assert chosen.dataset.columns["opened"] == Column(kind=Kind.DATE)
    assert chosen.dataset.columns["paid"] == Column(kind=Kind.DATE, format=DIGITS)
    assert chosen.dataset.columns["income"] == Column(kind=Kind.NUMERIC, decimal=",", thousands=".")
    return root, Model(Registry(root / "models/registry").load(str(result.registered.production)), str(result.registered.production))


def test_the_month_of_a_date_is_learned(trained: tuple[Path, Model]) -> None:
    _, model = trained
    found = model.evaluate(pl.DataFrame({name: [str(value) for value in values] for name, values in dated().items()}))
    assert found["roc_auc"] > 0.85


def test_one_row_a_frame_of_dates_and_a_file_are_scored_alike(trained: tuple[Path, Model], tmp_path: Path) -> None:
    root, model = trained
    bundle, table = model.bundle, dated()
    texts = pl.DataFrame({name: table[name][:20] for name in FEATURES})
    typed = texts.with_columns(pl.col("asked").str.to_date(FORMAT), pl.col("opened").str.to_datetime(), pl.col("paid").cast(pl.Int64))
    expected = class_probabilities(bundle, texts)[:, 1]
    np.testing.assert_array_equal(class_probabilities(bundle, typed)[:, 1], expected)
    np.testing.assert_array_equal(class_probabilities(bundle, typed.to_pandas())[:, 1], expected)
    rows = [parse_row(row, bundle.schema) for row in texts.iter_rows(named=True)]
    encoded = np.array([bundle.encoder.encode_row(row) for row in rows])
    np.testing.assert_allclose(bundle.safety.calibration(bundle.scorer.score(encoded)), expected, atol=1e-12)
    texts.write_csv(tmp_path / "today.csv")
    predict(root, tmp_path / "today.csv", tmp_path / "answers.csv")
    assert pl.read_csv(tmp_path / "answers.csv")["probability"].to_list() == pytest.approx(expected.tolist(), abs=1e-9)


def test_a_file_is_monitored_by_what_it_says(trained: tuple[Path, Model], chosen: settings.Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(csv(dated()))
    found = monitor(chosen, trained[0], tmp_path / "rows.csv", now=lambda: dt.datetime.now(dt.UTC)).evaluation
    missing = {each.column: each.missing for each in found.drift.columns}
    assert missing["income"] == missing["probability"] == (0, 0)


def test_a_reason_names_the_date(trained: tuple[Path, Model]) -> None:
    bundle = trained[1].bundle
    row = parse_row({"income": 2000, "paid": "20230101", "asked": "2021-12-24", "opened": "2022-01-03T12:00"}, bundle.schema)
    assert row["opened"] == 10.5
    texts = {reason.text for reason in explain_row(bundle, row, most=9).attributions}
    assert {"asked: 2021-12-24", "opened: 10.5 days"} <= texts


@pytest.mark.parametrize("value", ["24/12/2021", "2021-13-01", "tomorrow", "2021", 2021, True, 19_000.5])
def test_what_is_no_date_is_refused(value: Any, trained: tuple[Path, Model]) -> None:
    with pytest.raises(DataError, match=r"field 'asked': expected a date such as 05\.03\.2024 \(%d\.%m\.%Y\) or 2024-03-05, got"):
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


# --- over HTTP, and back from there ----------------------------------------------------------------------------------------


@pytest.fixture
def chosen(trained: tuple[Path, Model]) -> settings.Settings:
    """The settings of the model, with a gate that lets everything pass."""
    overrides = [*OVERRIDES, "gate.margin=0.99", "retrain.least_rows=50", "retrain.days=null"]
    return settings.load_settings(trained[0] / "config/config.yaml", environ={}, overrides=overrides)


@pytest.fixture
def served(trained: tuple[Path, Model], chosen: settings.Settings, tmp_path: Path) -> Iterator[tuple[Path, Client]]:
    """A copy of the work directory, served."""
    root = tmp_path / "work"
    shutil.copytree(trained[0], root)
    with Client(create_app(chosen, root, worker="w")) as client:
        yield root, client


def further(rows: int = 120) -> pl.DataFrame:
    """Rows like those of the table and none of them, as text, with their outcome."""
    table = dated()
    moved = [written(number(income) + 1) for income in table["income"]]
    return pl.DataFrame({name: [str(value) for value in values[:rows]] for name, values in {**table, "income": moved}.items()})


def as_json(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{**row, "income": number(row["income"])} for row in frame.select(FEATURES).to_dicts()]


def as_parquet(frame: pl.DataFrame) -> bytes:
    columns = [pl.col("asked").str.to_date(FORMAT), pl.col("opened").str.to_datetime(), pl.col("paid").cast(pl.Int64)]
    income = pl.Series("income", [number(text) for text in frame["income"]])
    frame.with_columns(income, *columns).write_parquet(out := io.BytesIO())
    return out.getvalue()


def in_every_way(client: Client, frame: pl.DataFrame) -> pl.DataFrame:
    """The answers to a table, a sixth of it asked for in each way: probability, verdict, and the id that outcomes are reported for."""
    one, two, three, four, five, six = (frame[place * frame.height // 6 : (place + 1) * frame.height // 6] for place in range(6))
    single = [client.post("/predict", json=row).json() for row in as_json(one)]
    integers = [client.post("/predict", json={**row, "paid": int(row["paid"])}).json() for row in as_json(two)]
    lines = client.post("/predict/batch", json=as_json(three)).json()["predictions"]
    text = client.post("/predict/batch", content=four.select(FEATURES).write_csv(), headers={"content-type": "text/csv"}).content
    parquet = {"content-type": "application/vnd.apache.parquet"}
    typed = client.post("/predict/batch", content=as_parquet(five.select(FEATURES)), headers=parquet).content
    tensors = [
        {"name": name, "datatype": kind, "shape": [six.height], "data": [row[name] for row in as_json(six)]}
        for name, kind in zip(FEATURES, ("FP64", "BYTES", "BYTES", "BYTES"), strict=True)
    ]
    said = client.post("/v2/models/loans/infer", json={"inputs": tensors}).json()
    names = ("probability", "verdict", "prediction_id")
    rows = pl.DataFrame([{name: answer[name] for name in names} for answer in (*single, *integers, *lines)])
    tables = [pl.read_csv(text).select(names), pl.read_parquet(typed).select(names)]
    return pl.concat([rows, *tables, pl.DataFrame({each["name"]: each["data"] for each in said["outputs"]}).select(names)])


def test_every_way_over_http_answers_as_the_file(served: tuple[Path, Client], tmp_path: Path) -> None:
    root, client = served
    further().drop("late").write_csv(tmp_path / "rows.csv")
    predict(root, tmp_path / "rows.csv", tmp_path / "answers.parquet")
    expected, answers = pl.read_parquet(tmp_path / "answers.parquet"), in_every_way(client, further())
    np.testing.assert_allclose(answers["probability"].to_numpy(), expected["probability"].to_numpy(), atol=1e-6)
    assert answers["verdict"].to_list() == expected["verdict"].to_list()


def test_retraining_reads_the_dates_of_every_way(served: tuple[Path, Client], chosen: settings.Settings, tmp_path: Path) -> None:
    """The rows that outcomes are added with are those of a file, however they were asked for."""
    root, client = served
    answers = in_every_way(client, further())
    told = [{"prediction_id": name, "outcome": late} for name, late in zip(answers["prediction_id"], further()["late"], strict=True)]
    assert client.post("/predictions/outcomes", json=told).json()["created"] == further().height
    engine, warehouse = connect(urls.oltp(chosen.storage, root, {})), open_warehouse(urls.olap(chosen.storage, root, {}))
    taken = [0]

    def whole() -> bool:
        taken.append(sync_warehouse(engine, warehouse, chosen.dataset, root=root).predictions)
        return sum(taken) == further().height

    until(whole)
    with warehouse.reading() as reader:
        invalid = reader.query("SELECT feature, SUM(answers) FROM hour_features WHERE kind = 'invalid' GROUP BY feature").rows
    assert not invalid
    engine.dispose()
    warehouse.close()
    done = retrain(chosen, root, actor="ada")
    assert done.challenger is not None, done.reason
    (both := tmp_path / "both.csv").write_text(pl.concat([pl.read_csv(root / "loans.csv", infer_schema=False), further()]).write_csv())
    run_extract(chosen, tmp_path / "file", source=str(both))
    run_transform(chosen, tmp_path / "file")
    run_load(chosen, tmp_path / "file")
    table = Path("data/processed") / f"{chosen.dataset.name}.parquet"
    rows, expected = (
        pl.read_parquet(folder / table).select(*FEATURES, "late").cast({"late": pl.String}) for folder in (root, tmp_path / "file")
    )
    assert_frame_equal(rows.sort(FEATURES), expected.sort(FEATURES), abs_tol=1e-9)

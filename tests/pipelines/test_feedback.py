"""Rows of the warehouse that follow a table: which, in what order, with what provenance, and how they are read."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import URL

from monitor_support import DAY_US, Service, answered, outcomes, service
from serving_support import write_config
from sporeprint.cli import app as cli
from sporeprint.common.progress import SilentProgress
from sporeprint.common.workdir import Workdir
from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.raw_table import RawTable, open_raw_table, read_batches
from sporeprint.pipelines import feedback
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from support import NUMERIC, OPEN, dataset, nominal
from warehouse_support import BEGIN_US, MINUTE_US, SCHEMA, database, outcome, predictions, warehouse_at, write


@pytest.fixture(params=["parquet", "mariadb"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """A warehouse of each kind with 300 answers; every third has an outcome, every ninth a corrected one, and one has no answer."""
    address = str(tmp_path / "warehouse")
    if request.param == "mariadb":
        server = request.getfixturevalue("mariadb")
        address = server.url(database=server.create_database()).render_as_string(hide_password=False)
    engine = database(URL.create("sqlite", database=str(tmp_path / "oltp.db")))
    rows = predictions(300)
    write(engine, rows)
    true = [outcome(row["prediction_id"], "p") for row in rows if _number(row) % 3 == 0]
    true += [outcome(row["prediction_id"], "e", 2) for row in rows if _number(row) % 9 == 0]
    write(engine, [*true, outcome("never came", "p")], tables.outcome)
    with warehouse_at(address) as found:
        sync_warehouse(engine, found, SCHEMA)
        yield found
    engine.dispose()


def _number(row: dict[str, Any]) -> int:
    return int(row["prediction_id"].rpartition("-")[2])


@pytest.mark.parametrize("since", [0, BEGIN_US + 100 * MINUTE_US], ids=["all", "from a minute on"])
@pytest.mark.parametrize("page", [7, 25_000])
def test_each_answer_with_an_outcome_once_with_its_latest(warehouse: Warehouse, since: int, page: int) -> None:
    with warehouse.reading() as reader:
        found = feedback.count_labels(reader, since)
        pages = list(feedback.pages(reader, SCHEMA, found, since, page_rows=page))
    times = [time for _, each in pages for time in each]
    wanted = sorted(
        (row for row in predictions(300) if _number(row) % 3 == 0 and row["created_us"] >= since), key=lambda row: row["created_us"]
    )
    assert times == [row["created_us"] for row in wanted]
    frame = pl.concat([page for page, _ in pages])
    assert frame.columns == ["class", *SCHEMA.columns]
    assert frame["class"].to_list() == ["e" if _number(row) % 9 == 0 else "p" for row in wanted]
    assert frame["cap-shape"].to_list() == [json.loads(row["features"])["cap-shape"] for row in wanted]
    assert [float(size) for size in frame["size"]] == [json.loads(row["features"])["size"] for row in wanted]
    assert (found.answers, found.labelled) == ((300, 100) if since == 0 else (found.answers, found.labelled))
    assert found.labelled >= len(wanted)


def test_a_table_whose_groups_are_a_column_gets_one_for_them(warehouse: Warehouse) -> None:
    schema = dataset({"cap-shape": nominal("b", "x"), "size": NUMERIC, "smell": OPEN}, groups={"name": "place", "column": "where"})
    with warehouse.reading() as reader:
        ((frame, _),) = feedback.pages(reader, schema, feedback.count_labels(reader, 0), 0)
    assert frame.columns == list(schema.table_columns)
    assert frame["where"].unique().to_list() == [feedback.GROUP]


# --- with a table --------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(small_copy: Path, small_config: dict[str, Any]) -> Iterator[Service]:
    with service(small_copy, {**small_config, "retrain": {"least_rows": 10}}) as found:
        yield found


def raw_of(served: Service, small_table: Path) -> RawTable:
    return open_raw_table(served.settings, served.root, source=str(small_table), now=lambda: datetime.now(UTC))


def say(served: Service, small_table: Path, rows: int, known: int) -> pl.DataFrame:
    frame = pl.read_csv(small_table, separator=";", infer_schema=False).tail(rows)
    said = answered(served.root, frame, first_us=BEGIN_US, step_us=MINUTE_US)
    served.say(said, outcomes(said, frame["class"].head(known)))
    return frame.head(known)


def append(served: Service, raw: RawTable, since_us: int | None = None) -> RawTable:
    return feedback.append_labelled_predictions(served.settings, Workdir(served.root), raw, since_us=since_us, progress=SilentProgress())


def test_they_follow_the_table_and_say_where_they_are_from(served: Service, small_table: Path) -> None:
    frame = say(served, small_table, 60, 40)
    before = raw_of(served, small_table)
    raw = append(served, before)
    assert raw.path == before.path
    said = f"and 40 answers with an outcome (of 60) of the warehouse {served.root}/data/warehouse"
    assert raw.provenance.source == f"{small_table}, {said}, given 2026-01-30T22:30:00Z to 2026-01-30T23:09:00Z"
    assert (before.provenance.rows, raw.provenance.rows) == (1800, 1840)
    assert raw.provenance.sha256 != before.provenance.sha256
    assert append(served, before) == raw
    assert RawTable.from_json(raw.to_json()) == raw
    batches = list(read_batches(raw, served.settings.dataset, batch_bytes=1 << 16))
    rows = [number for batch in batches for number in batch.frame["_row"]]
    assert rows == list(range(1840))
    assert sum(batch.bytes_read for batch in batches) <= raw.provenance.bytes
    last = batches[-1].frame.drop("_row")
    assert last["class"].to_list() == frame["class"].to_list()
    names = served.settings.dataset.nominal
    assert last.select(names).rows() == frame.select(names).rows()


def test_a_record_of_before_has_no_further_rows(served: Service, small_table: Path) -> None:
    raw = raw_of(served, small_table)
    old = json.loads(raw.to_json())
    del old["further"]
    assert RawTable.from_json(json.dumps(old)) == raw


def test_rows_that_are_gone_are_named(served: Service, small_table: Path) -> None:
    say(served, small_table, 20, 20)
    raw = append(served, raw_of(served, small_table))
    Workdir(served.root).outcomes.unlink()
    with pytest.raises(DataError, match=r"outcomes\.parquet is missing"):
        list(read_batches(raw, served.settings.dataset, batch_bytes=1 << 20))


def test_too_few_and_none(served: Service, small_table: Path) -> None:
    raw = raw_of(served, small_table)
    with pytest.raises(StorageError, match="holds no answers yet; run: sporeprint warehouse sync"):
        append(served, raw)
    say(served, small_table, 20, 9)
    with pytest.raises(DataError, match=r"has 9 answers with an outcome \(of 20 answers\), and retrain.least_rows asks for 10"):
        append(served, raw)
    with pytest.raises(DataError, match="has 0 answers with an outcome since 2026-01-31T22:30:00Z"):
        append(served, raw, BEGIN_US + DAY_US)
    assert not Workdir(served.root).outcomes.exists()


def test_a_whole_run_from_the_command_line(
    served: Service, small_config: dict[str, Any], small_table: Path, tmp_path: Path, capsys: Any
) -> None:
    say(served, small_table, 60, 40)
    config = write_config({**small_config, "retrain": {"least_rows": 10}}, tmp_path / "config.yaml")
    place = ["--source", str(small_table), "--workdir", str(served.root), "--config", str(config), "--json"]
    assert cli.run(["etl", "--from-warehouse", "--since", "2026-01-30T22:00Z", *place]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["data"]["rows"] == 1840
    assert "and 40 answers with an outcome" in done["data"]["provenance"]["source"]
    assert done["data"]["duplicates"] >= 40  # they were rows of the table
    assert "40 answers with an outcome" in (served.root / "models/metrics/report.html").read_text(encoding="utf-8")
    assert cli.run(["etl", "--from-warehouse", "--since", "1h", *place]) == 4
    assert "has 0 answers with an outcome" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert cli.run(["etl", "--since", "1h", *place]) == 2
    assert "--since belongs to --from-warehouse" in json.loads(capsys.readouterr().out)["error"]["message"]

"""Tests of sporeprint.reports.warehouse_report: the standard report for people, programs and browsers."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from report_support import filled_warehouse
from sporeprint.common.timestamps import DAY_US
from sporeprint.reports import warehouse_report
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.parquet_warehouse import ParquetWarehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import BEGIN_US, SCHEMA, predictions, write

NOW = BEGIN_US + 10 * DAY_US


@pytest.fixture
def warehouse(oltp: Engine, tmp_path: Path) -> ParquetWarehouse:
    return filled_warehouse(oltp, tmp_path / "warehouse")


def made(warehouse: ParquetWarehouse, days: int = 90) -> warehouse_report.WarehouseReport:
    with warehouse.reading() as reader:
        return warehouse_report.make_warehouse_report(reader, "here", now_us=NOW, days=days)


def test_tables_for_people(warehouse: ParquetWarehouse) -> None:
    report = made(warehouse)
    total, daily = report.tables()
    assert total.columns[3:7] == ("answers", "edible", "poisonous", "unknown")
    assert sum(int(row[3]) for row in total.rows) == 200
    assert total.columns[7:11] == ("edible, outcome known", "false edible", "different rows", "at most (95%)")
    known = [row for row in total.rows if row[7] not in {"0", "-"}]
    assert known
    assert all(re.fullmatch(r"\d+\.\d\d%|100%", row[10]) for row in known)
    assert {row[0] for row in daily.rows} == {"2026-01-30", "2026-01-31"}


def test_days_back(warehouse: ParquetWarehouse) -> None:
    assert made(warehouse, days=1).results["verdicts_total"] == []
    assert [table.rows[0][0] for table in made(warehouse, days=1).tables()] == [
        "the warehouse has no answers of this time; sporeprint warehouse sync brings them"
    ]
    assert made(warehouse, days=0).to_dict()["since"] is None


def test_the_page_is_one_small_file(warehouse: ParquetWarehouse) -> None:
    page = warehouse_report.render_warehouse_report(made(warehouse))
    assert len(page) < 150_000
    assert page.count("<figure") == 4
    assert "Answers a day, on the last day: " in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "SIMULATED" not in page
    for row in made(warehouse).total_table("").rows:
        assert f"<td>{row[3]}</td>" in page


def test_a_page_without_answers(warehouse: ParquetWarehouse) -> None:
    assert "0 answers since" in warehouse_report.render_warehouse_report(made(warehouse, days=1))


def test_models_of_invented_rows_are_said(warehouse: ParquetWarehouse) -> None:
    with warehouse.loading() as load:
        load.put(
            star_schema.DIM_MODEL,
            aggregation.frame(star_schema.DIM_MODEL, [{"model": "tree", "version": 1, "ref": "tree/v1", "simulated": 1}]),
        )
    report = made(warehouse)
    assert report.simulated
    assert "SIMULATED DATA" in warehouse_report.render_warehouse_report(report)
    assert "SIMULATED DATA" in report.tables()[0].title


def test_names_from_outside_are_text(warehouse: ParquetWarehouse, oltp: Engine) -> None:
    write(oltp, [{**predictions(1)[0], "prediction_id": "x", "model": "<script>alert(1)</script>"}])
    sync_warehouse(oltp, warehouse, SCHEMA)
    assert "<script" not in warehouse_report.render_warehouse_report(made(warehouse))


@pytest.mark.parametrize(("share", "said"), [(0, "0%"), (1, "100%"), (0.00001, "<0.01%"), (0.99999, ">99.99%"), (0.1234, "12.34%")])
def test_shares_are_never_rounded_to_none_or_all(share: float, said: str) -> None:
    assert warehouse_report.percent(share) == said

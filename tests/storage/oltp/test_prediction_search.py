"""Predictions are searched in pages, each of which reads a bounded number of rows, on both kinds of database."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from journal_support import record
from sporeprint.storage.journal.shipper import upsert
from sporeprint.storage.oltp import migrate, outcomes, prediction_search
from sporeprint.storage.oltp.prediction_search import PredictionRow, SearchFilter, search
from sporeprint.storage.prediction_record import as_row

CODES = {"poisonous": "p", "edible": "e"}
BEGIN = 1_700_000_000_000_000
ROWS = 40


@pytest.fixture
def filled(empty: Engine) -> Engine:
    """Forty predictions: every third is edible, every tenth has a value never seen; two of each made at the same microsecond."""
    migrate.upgrade(empty)
    records = [
        record(
            number,
            created_us=BEGIN + number // 2,
            verdict="edible" if number % 3 == 0 else "poisonous",
            unseen=("cap",) if number % 10 == 0 else ("caps",) if number == 1 else (),
            version=1 + number % 2,
            test_id="t" if number < 20 else None,
            arm="ab"[number % 2] if number < 20 else None,
            unit_id=f"u{number}",
        )
        for number in range(ROWS)
    ]
    upsert(empty, [as_row(one.to_bytes(), 1) for one in records])
    said = {0: "e", 1: "e", 2: "p", 3: "p"}  # right, wrong, right, wrong
    for number, code in said.items():
        outcomes.record(empty, f"id-{number:08d}", code, source="lab", observed_us=None, now_us=1)
    outcomes.record(empty, "id-00000003", "e", source="lab", observed_us=None, now_us=2)  # corrected: right after all
    return empty


def everything(engine: Engine, limit: int = 7, **fields: Any) -> list[PredictionRow]:
    """All pages of a search."""
    rows, before = list[PredictionRow](), None
    for _ in range(200):
        page = search(engine, SearchFilter(**fields), CODES, limit=limit, before=before)
        rows += page.rows
        if page.scanned_to is None:
            return rows
        before = page.scanned_to
    raise AssertionError("it never ends")


def numbers(rows: Sequence[PredictionRow]) -> list[int]:
    return [int(row.features["number"]) for row in rows]


def test_pages_have_every_row_once_the_latest_first(filled: Engine) -> None:
    for limit in (1, 7, 40, 200):
        assert numbers(everything(filled, limit)) == list(reversed(range(ROWS)))


def test_each_filter_and_several(filled: Engine) -> None:
    expected: dict[str, tuple[dict[str, Any], list[int]]] = {
        "verdict": ({"verdict": "edible"}, [number for number in range(ROWS) if number % 3 == 0]),
        "version": ({"model": "xgboost", "version": 2}, list(range(1, ROWS, 2))),
        "time": ({"since_us": BEGIN + 2, "until_us": BEGIN + 4}, [4, 5, 6, 7]),
        "unseen": ({"unseen": "cap"}, [0, 10, 20, 30]),
        "any unseen": ({"unseen": "*"}, [0, 1, 10, 20, 30]),
        "test": ({"test_id": "t", "arm": "b"}, list(range(1, 20, 2))),
        "unit": ({"unit_id": "u7"}, [7]),
        "none": ({"outcome": "none"}, list(range(4, ROWS))),
        "right": ({"outcome": "right"}, [0, 2, 3]),
        "wrong": ({"outcome": "wrong"}, [1]),
        "corrected": ({"outcome": "corrected"}, [3]),
        "both": ({"verdict": "edible", "outcome": "right"}, [0, 3]),
        "nothing": ({"verdict": "' OR 1=1; --"}, []),
    }
    for name, (fields, hits) in expected.items():
        assert numbers(everything(filled, **fields)) == list(reversed(hits)), name


def test_a_row_comes_with_its_latest_outcome(filled: Engine) -> None:
    rows = {int(row.features["number"]): (row.outcome, row.revision) for row in everything(filled)}
    assert [rows[number] for number in range(5)] == [("e", 1), ("e", 1), ("p", 1), ("e", 2), (None, 0)]


def test_a_call_reads_no_more_than_so_many_rows_and_says_how_far_it_came(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_search, "SCAN_ROWS", 10)
    page = search(filled, SearchFilter(unit_id="u3"), CODES, limit=5)
    assert page.rows == ()
    assert page.scanned_to is not None
    assert page.scanned_to.created_us == BEGIN + 15  # of the tenth row, number 30
    assert numbers(everything(filled, unit_id="u3")) == [3]
    assert numbers(everything(filled, limit=3)) == list(reversed(range(ROWS)))
    assert numbers(everything(filled, outcome="right")) == [3, 2, 0]

"""A run's record reads back as it was written."""

import dataclasses

from sporeprint.record import DataRecord, GroupCheck

RECORD = DataRecord(
    run_id="20260101T000000Z-abcd",
    created="2026-01-01T00:00:00+00:00",
    provenance={"source": "t.csv", "sha256": "0" * 64},
    simulated=False,
    rows=100,
    rejected=3,
    malformed=1,
    duplicates=2,
    dropped=0,
    by_rule={"range:width": 2, "malformed": 1},
    missing={"width": 5},
    classes={"edible": 40, "poisonous": 57},
    groups=GroupCheck(available=True, count=10, reason="10 species blocks of 10 rows, each of one class"),
    splits={"train": 50, "test": 47},
    fingerprint="f" * 64,
)


def test_it_reads_back_as_it_was_written() -> None:
    assert DataRecord.from_json(RECORD.to_json()) == RECORD


def test_good_rows_are_those_that_were_not_rejected() -> None:
    assert RECORD.good == 97
    assert dataclasses.replace(RECORD, rejected=100).good == 0

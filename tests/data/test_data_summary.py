"""What a run found, there and back as JSON."""

import json
from dataclasses import asdict, replace

import pytest

from sporeprint.data.data_summary import DataSummary, GroupCheck
from sporeprint.errors import DataError

RECORD = DataSummary(
    run_id="20261122-1",
    created="2026-11-22T10:00:00+00:00",
    provenance={"source": "tabelle größe.csv", "sha256": "ab" * 32, "bytes": 2**40, "rows": None},
    simulated=False,
    rows=100,
    rejected=7,
    malformed=2,
    duplicates=3,
    repeats=5,
    notes=("one", "two"),
    dropped=0,
    by_rule={"malformed": 2, "number:stem-width": 5},
    missing={"size": 4},
    classes={"edible": 40, "poisonous": 53},
    groups=GroupCheck(available=True, count=10, reason="10 species blocks of 10 rows, each of one class"),
    splits={"train": 50, "test": 43},
    fingerprint="cd" * 32,
)


def test_good_rows_are_those_that_were_not_rejected() -> None:
    assert RECORD.good == 93
    assert replace(RECORD, rejected=100).good == 0


SHUFFLED = GroupCheck(available=False, count=0, reason="the rows are shuffled")


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, simulated=True, by_rule={}, groups=SHUFFLED)])
def test_a_record_comes_back_as_it_was(record: DataSummary) -> None:
    text = record.to_json()
    back = DataSummary.from_json(text)
    assert back == record
    assert isinstance(back.groups, GroupCheck)
    assert back.to_json() == text


def test_json_has_every_field_in_words_people_can_read() -> None:
    text = RECORD.to_json()
    assert "tabelle größe.csv" in text
    assert json.loads(text) == {**asdict(RECORD), "notes": list(RECORD.notes)}


def test_the_order_of_rules_is_kept() -> None:
    assert list(DataSummary.from_json(RECORD.to_json()).by_rule) == ["malformed", "number:stem-width"]


WHOLE = asdict(RECORD)


@pytest.mark.parametrize(
    "text",
    [
        *("", "nope", "[]", "3", "{}", json.dumps({**WHOLE, "more": 1}), json.dumps({**WHOLE, "groups": {"available": True}})),
        *(json.dumps({**WHOLE, "groups": None}), json.dumps({key: value for key, value in WHOLE.items() if key != "rows"})),
    ],
)
def test_another_record_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"^the record of the data is damaged \(.*\); run sporeprint transform and sporeprint load again$"):
        DataSummary.from_json(text)

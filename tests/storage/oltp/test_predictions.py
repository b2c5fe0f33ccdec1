"""Answers found in the database, on both kinds."""

from sqlalchemy import Engine

from journal_support import full_record, record
from sporeprint.storage.journal.shipper import upsert
from sporeprint.storage.oltp import migrate
from sporeprint.storage.oltp.predictions import find
from sporeprint.storage.prediction_record import as_row


def test_what_was_shipped_is_found_as_it_was(empty: Engine) -> None:
    migrate.upgrade(empty)
    records = [record(1), full_record(2)]
    upsert(empty, [as_row(one.to_bytes(), 1) for one in records])
    assert [find(empty, one.prediction_id) for one in records] == records
    assert find(empty, "id-00000003") is None
    assert find(empty, "ID-00000001") is None

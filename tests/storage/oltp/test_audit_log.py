"""The audit trail: see also test_keys.py."""

from sqlalchemy import Engine

from sporeprint.storage.oltp.audit_log import Change, changes, note
from sporeprint.storage.oltp.tables import metadata


def test_changes_of_one_subject_in_their_order(empty: Engine) -> None:
    metadata.create_all(empty)
    first, second = Change(5, "a", "x", "s", {"n": 1}), Change(3, "b", "y", "s", {"text": "ö"})
    for change in (first, Change(4, "c", "z", "other", {}), second):
        note(empty, change)
    assert changes(empty, "s") == (first, second)
    assert changes(empty, "nobody") == ()

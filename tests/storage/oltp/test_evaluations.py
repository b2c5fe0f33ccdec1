"""Evaluations in both databases: listed by stream, replaced by their id, and only the newest kept in full."""

import pytest
from sqlalchemy import Engine

from sporeprint.storage.oltp import evaluations
from sporeprint.storage.oltp.evaluations import StoredEvaluation, stream_id_of
from sporeprint.storage.oltp.tables import metadata

LONG = "xgboost/v1 against " + "\N{MUSHROOM}" * 5_000
PAGE = "<p>\N{MUSHROOM}</p>".encode() * 1_000


@pytest.fixture
def engine(empty: Engine) -> Engine:
    metadata.create_all(empty)
    return empty


def evaluated(number: int, stream: str = LONG, status: str = "alarm") -> StoredEvaluation:
    return StoredEvaluation(f"e{number}", stream_id_of(stream), stream, number * 10, status, {"rows": number, "text": "a\u202eb"})


def test_what_is_kept_is_found(engine: Engine) -> None:
    assert (evaluations.streams(engine), evaluations.listed(engine), evaluations.get(engine, "e1")) == ((), (), None)
    one, other = evaluated(1), evaluated(2, "other", "no alarm")
    evaluations.keep(engine, one, {"drift": [1]}, PAGE, whole=5)
    evaluations.keep(engine, other, {"drift": []}, None, whole=5)
    assert evaluations.get(engine, "e1") == (one, {"drift": [1]})
    assert evaluations.report(engine, "e1") == PAGE
    assert evaluations.report(engine, "e2") is None
    assert [(each.stream, each.evaluations, each.last_us) for each in evaluations.streams(engine)] == [("other", 1, 20), (LONG, 1, 10)]
    assert evaluations.listed(engine) == (other, one)
    assert evaluations.listed(engine, stream_id=one.stream_id) == (one,)
    assert evaluations.listed(engine, since_us=11) == (other,)
    assert evaluations.listed(engine, limit=1) == (other,)


def test_written_again_it_is_replaced(engine: Engine) -> None:
    evaluations.keep(engine, evaluated(1), {"drift": [1]}, PAGE, whole=5)
    evaluations.keep(engine, evaluated(1, status="no alarm"), {"drift": [2]}, None, whole=5)
    (each,) = evaluations.listed(engine)
    assert evaluations.get(engine, each.evaluation_id) == (evaluated(1, status="no alarm"), {"drift": [2]})
    assert evaluations.report(engine, "e1") is None


def test_only_the_newest_of_a_stream_are_kept_in_full(engine: Engine) -> None:
    evaluations.keep(engine, evaluated(1, "other"), {"all": 1}, PAGE, whole=2)
    for number in (2, 3, 4, 5):
        evaluations.keep(engine, evaluated(number), {"all": number}, PAGE, whole=2)
    whole = {each.evaluation_id: (evaluations.get(engine, each.evaluation_id) or (None, None))[1] for each in evaluations.listed(engine)}
    assert whole == {"e5": {"all": 5}, "e4": {"all": 4}, "e3": None, "e2": None, "e1": {"all": 1}}
    assert evaluations.report(engine, "e3") is None
    assert evaluations.report(engine, "e4") == PAGE

"""Tests of sporeprint.storage.oltp.tables: what the tables take, and how they compare."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, delete, exc, insert, select

from mariadb_server import MariaDB
from sporeprint.storage.oltp import tables


@pytest.fixture(params=["sqlite", "mariadb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty database of each kind, with all tables."""
    if request.param == "mariadb":
        server: MariaDB = request.getfixturevalue("mariadb")
        made = create_engine(server.url(database=server.create_database()))
    else:
        made = create_engine("sqlite://")
    tables.metadata.create_all(made)
    yield made
    made.dispose()


OUTCOME = {"revision": 1, "outcome": "p", "source": "lab", "observed_us": 1, "recorded_us": 2}


def test_ids_are_compared_byte_by_byte(engine: Engine) -> None:
    ids = ["Aa", "aa", "ä", "a\u0308", "aa "]
    with engine.begin() as connection:
        connection.execute(insert(tables.outcome), [{**OUTCOME, "prediction_id": name} for name in ids])
        found = connection.execute(select(tables.outcome.c.prediction_id).order_by(tables.outcome.c.seq)).scalars().all()
    assert found == ids


def test_the_same_revision_twice_is_refused(engine: Engine) -> None:
    with pytest.raises(exc.IntegrityError), engine.begin() as connection:
        connection.execute(insert(tables.outcome), [{**OUTCOME, "prediction_id": "a"}] * 2)


def test_a_number_is_never_given_twice(engine: Engine) -> None:
    with engine.begin() as connection:
        for name in "ab":
            connection.execute(insert(tables.outcome), {**OUTCOME, "prediction_id": name})
        connection.execute(delete(tables.outcome))
        connection.execute(insert(tables.outcome), {**OUTCOME, "prediction_id": "c"})
        assert connection.execute(select(tables.outcome.c.seq)).scalars().all() == [3]


def test_a_sequence_counts_by_itself(engine: Engine) -> None:
    with engine.begin() as connection:
        for name in "ab":
            connection.execute(insert(tables.outcome), {**OUTCOME, "prediction_id": name})
        assert connection.execute(select(tables.outcome.c.seq)).scalars().all() == [1, 2]

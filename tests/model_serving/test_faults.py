"""What a server promises while something around it fails: the database, a worker, the clock."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

from journal_support import until
from mariadb_server import MariaDB
from serving_support import NO_TLS, Load, Server
from sporeprint.registry.registry import Registry
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import migrate
from sporeprint.storage.oltp.tables import prediction

Serve = Callable[..., Server]
#: A minute is what is promised; a few seconds show the same in every run.
OUTAGE_S = float(os.environ.get("OUTAGE_S", "5"))


@pytest.fixture
def row(small_copy: Path) -> dict[str, Any]:
    return dict(Registry(small_copy / "models/registry").load("production").golden.rows[0])


@pytest.fixture
def database(mariadb: MariaDB) -> Iterator[Engine]:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    migrate.upgrade(engine)
    yield engine
    engine.dispose()


def on_mariadb(engine: Engine) -> dict[str, str]:
    """The environment of a server with this database."""
    return {"SPOREPRINT_OLTP_URL": engine.url.render_as_string(hide_password=False)}


def stored(engine: Engine) -> Counter[str]:
    with engine.connect() as connection:
        return Counter(connection.execute(select(prediction.c.prediction_id)).scalars())


def ids(load: Load) -> list[str]:
    return [said["prediction_id"] for said in load.answers]


def test_a_database_that_is_away_costs_nothing_but_lag(served: Serve, row: dict[str, Any], mariadb: MariaDB, database: Engine) -> None:
    server = served(env=on_mariadb(database))
    with Load(server.client, row, clients=2) as load:
        until(lambda: len(stored(database)) > 10)
        mariadb.kill()
        before = len(load.answers)
        until(lambda: server.client.get("/health").json()["database"]["status"] == "away")
        time.sleep(OUTAGE_S)
        assert len(load.answers) > before + 20 * OUTAGE_S
        health = server.client.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert server.client.get("/health/ready").status_code == 200
        # What was answered is found though the database is away; what turned out to be true has to wait, and is told so.
        one = load.answers[-1]["prediction_id"]
        assert server.client.get(f"/predictions/{one}").json()["outcome_unknown"] == "the database does not answer now"
        refused = server.client.post(f"/predictions/{one}/outcome", json={"outcome": "p"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        mariadb.start()
        until(lambda: server.client.get("/health").json()["status"] == "ok", 60)
    assert load.failures == []
    until(lambda: server.client.get("/health").json()["journal"]["depth"] == 0, 60)
    assert server.client.post(f"/predictions/{one}/outcome", json={"outcome": "p"}).status_code == 201
    found = stored(database)
    assert set(ids(load)) <= set(found)
    assert set(found.values()) == {1}


def test_a_server_starts_while_its_database_is_away(served: Serve, row: dict[str, Any], mariadb: MariaDB, database: Engine) -> None:
    # Once it has read the API keys, it knows them without the database.
    assert served(env=on_mariadb(database)).stop() == 0
    mariadb.kill()
    server = served(env=on_mariadb(database))
    said = server.client.post("/predict", json=row).json()
    assert server.client.get(f"/predictions/{said['prediction_id']}").json()["prediction"] == said["prediction"]
    mariadb.start()
    until(lambda: said["prediction_id"] in stored(database), 60)


def workers(server: Server) -> set[int]:
    """The processes that answer. A connection stays with its worker, and ends with it."""
    found = set()
    for _ in range(10):
        with contextlib.suppress(httpx.TransportError):
            name: str = httpx.get(server.client.base_url.join("/health"), timeout=10, verify=NO_TLS).json()["worker"]
            found.add(int(name.rpartition("-")[2]))
    return found


def test_every_answer_of_a_killed_worker_is_kept_and_another_takes_its_place(
    served: Serve, row: dict[str, Any], mariadb: MariaDB, database: Engine
) -> None:
    server = served("--workers", "2", env=on_mariadb(database))
    until(lambda: len(workers(server)) == 2, 60)
    before = workers(server)
    with Load(server.client, row, patience_s=60) as load:  # a request may have to wait for the next worker
        time.sleep(0.5)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        until(lambda: len(now := workers(server)) == 2 and not now & before, 60)
        answered = len(load.answers)
        until(lambda: len(load.answers) > answered + 20)
    # Connections that broke; no answer that was an error.
    assert {said.partition("(")[0] for said in load.failures} <= {"ConnectError", "ReadError", "RemoteProtocolError"}
    until(lambda: server.client.get("/health").json()["journal"]["depth"] == 0, 30)
    # The journals of the killed are shipped by those that live.
    until(lambda: set(ids(load)) <= set(stored(database)), 60)
    assert set(stored(database).values()) == {1}
    assert server.stop() == 0


def test_workers_end_with_the_process_that_looks_after_them(served: Serve, row: dict[str, Any], small_copy: Path) -> None:
    server = served("--workers", "2")
    until(lambda: len(workers(server)) == 2, 60)
    pids = workers(server)
    server.client.post("/predict", json=row)
    server.process.kill()
    server.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 20)
    assert list((small_copy / "data/journal").glob("*-wal")) == []


def test_two_requests_with_one_key_at_once_have_one_answer(served: Serve, row: dict[str, Any], mariadb: MariaDB, database: Engine) -> None:
    server = served("--workers", "2", env=on_mariadb(database))
    until(lambda: len(workers(server)) == 2, 60)
    said: list[httpx.Response] = []
    url = server.client.base_url.join("/predict")

    def ask(key: str) -> None:
        said.append(httpx.post(url, json=row, headers={"Idempotency-Key": key}, timeout=10, verify=NO_TLS))

    for number in range(10):
        threads = [threading.Thread(target=ask, args=(f"key-{number}",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {found.status_code for found in said} == {200}
    found = {(answer["prediction_id"], answer["probability"], answer["verdict"]) for answer in (one.json() for one in said)}
    assert len(found) == 10
    until(lambda: server.client.get("/health").json()["journal"]["depth"] == 0, 30)
    until(lambda: len(stored(database)) == 10, 30)
    with database.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(prediction)) == 10


def test_a_clock_that_jumps_harms_nothing(
    served: Serve, row: dict[str, Any], faketime: tuple[Path, dict[str, str]], database: Engine
) -> None:
    clock, fake = faketime
    server = served(env={**on_mariadb(database), **fake})
    created: list[str] = []
    with Load(server.client, row, clients=2) as load:
        for jump in ("+0", "+3d", "-400d", "+0"):
            clock.write_text(jump)
            time.sleep(1)
            said = server.client.post("/predict", json=row).json()
            created.append(server.client.get(f"/predictions/{said['prediction_id']}").json()["created"])
            health = server.client.get("/health").json()
            assert health["status"] == "ok"
            assert health["journal"]["age_s"] >= 0
    assert load.failures == []
    assert created[2] < created[0] < created[3] < created[1]  # the clock did jump
    until(lambda: server.client.get("/health").json()["journal"]["depth"] == 0, 30)
    found = stored(database)
    assert set(ids(load)) <= set(found)
    assert len(set(ids(load))) == len(load.answers)

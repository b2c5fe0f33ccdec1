"""Experiments with a real MariaDB: frozen, killed, behind a link that drops; and every endpoint under every fault."""

import concurrent.futures
import contextlib
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from database_faults import FAULTS, Ask, FaultyLink, page_requests, problem_of, requests
from lab import PREDICTIONS, ROW, Load, Response, Server, call, copy_of, differences, settled
from mariadb_server import MARIADBD, MariaDB
from sporeprint.registry.registry import Registry

KEY = "0123456789abcdef" * 4
CALLER = {"Authorization": f"Bearer {KEY}"}


class MissingToolError(Exception):
    """This machine lacks what an experiment needs."""


@contextlib.contextmanager
def database() -> Iterator[tuple[MariaDB, str]]:
    """A MariaDB with the tables of a database, and its name."""
    if MARIADBD is None:
        raise MissingToolError("mariadbd")
    from sporeprint.storage.engine import connect
    from sporeprint.storage.oltp import migrate

    with tempfile.TemporaryDirectory(prefix="sporeprint-faults-") as folder, MariaDB(Path(folder)) as mariadb:
        name = mariadb.create_database()
        engine = connect(mariadb.url(database=name))
        migrate.upgrade(engine)
        engine.dispose()
        yield mariadb, name


def environment(root: Path, mariadb: MariaDB, name: str, port: int | None = None) -> dict[str, str]:
    """Of a server with this database, reached by a port, and a key that needs no database."""
    key = root / "key"
    key.write_text(KEY)
    url = mariadb.url(database=name).set(port=port or mariadb.port).render_as_string(hide_password=False)
    return {"SPOREPRINT_OLTP_URL": url, "SPOREPRINT_BOOTSTRAP_KEY_FILE": str(key)}


def in_database(mariadb: MariaDB, name: str) -> list[tuple[object, ...]]:
    """The predictions."""
    return mariadb.execute(PREDICTIONS, database=name)


def frozen_database(trained: Path, quick: bool) -> tuple[dict[str, Any], bool]:
    """MariaDB is stopped (SIGSTOP) under load: keyed rows, health, outcomes, and what has nothing to do with it, meanwhile and before."""
    count = 20 if quick else 200
    with database() as (mariadb, name), copy_of(trained) as root:
        environ = environment(root, mariadb, name)
        server = Server(root, environ=environ)
        one = call(server.port, "POST", "/predict", ROW, CALLER).body["prediction_id"]
        before = _others(server.port, count, "before")
        assert mariadb.process is not None
        mariadb.process.send_signal(signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                outcome = [
                    pool.submit(call, server.port, "POST", f"/predictions/{one}/outcome", {"outcome": "p"}, CALLER) for _ in range(8)
                ]
                health = call(server.port, "GET", "/health", headers=CALLER)
                meanwhile = _others(server.port, count, "meanwhile")
                promotion = call(server.port, "POST", "/models/decision_tree/promote", {"version": 1}, CALLER)
                outcomes = [each.result() for each in outcome]
            second = Server(root, environ=environ)  # starts while it is frozen
            second.stop()
        finally:
            mariadb.process.send_signal(signal.SIGCONT)
        until, healthy = time.monotonic() + 60, False
        while not healthy and time.monotonic() < until:
            healthy = bool(call(server.port, "GET", "/health", headers=CALLER).body["status"] == "ok")
            time.sleep(0.2)
        server.stop()
    figure: dict[str, Any] = {
        "start_to_ready_s": second.ready_s and round(second.ready_s, 2),
        "health": [health.body["database"]["status"], round(health.seconds, 2)],
        "outcomes": [sorted({each.status for each in outcomes}), round(max(each.seconds for each in outcomes), 2)],
        "retry_after": sorted({each.headers.get("retry-after", "none") for each in outcomes}),
        "promote": [promotion.status, round(promotion.seconds, 2)],
        "before_s": before,
        "meanwhile_s": meanwhile,
        "healthy_again": healthy,
    }
    right = healthy and figure["health"][0] == "away" and health.seconds <= 5 and figure["outcomes"][0] == [503]
    right = right and figure["outcomes"][1] <= 10 and second.ready_s is not None and second.ready_s <= 15
    return figure, right and meanwhile["keyed_median"] <= 0.3 and promotion.status in (200, 503)


def _others(port: int, count: int, word: str) -> dict[str, float]:
    """Seconds of requests that do not need the database."""
    keyed = [call(port, "POST", "/predict", ROW, {**CALLER, "Idempotency-Key": f"{word}{number}"}) for number in range(count)]
    batch = [call(port, "POST", "/predict/batch", [ROW], CALLER) for _ in range(10)]
    models = [call(port, "GET", "/models", headers=CALLER) for _ in range(10)]
    assert {each.status for each in (*keyed, *batch, *models)} == {200}
    seconds = [each.seconds for each in keyed]
    return {
        "keyed_median": round(statistics.median(seconds), 4),
        "keyed_max": round(max(seconds), 3),
        "batch_median": round(statistics.median(each.seconds for each in batch), 3),
        "models_median": round(statistics.median(each.seconds for each in models), 3),
    }


def kill_database(trained: Path, quick: bool) -> tuple[dict[str, Any], bool]:
    """MariaDB is killed (SIGKILL) at random moments under load, and comes back."""
    chance, kills = random.Random(6), 4 if quick else 20
    with database() as (mariadb, name), copy_of(trained) as root:
        environ = environment(root, mariadb, name)
        server = Server(root, workers=2, environ=environ)
        with Load(server.port, headers=CALLER) as load:
            for _ in range(kills):
                time.sleep(chance.uniform(0.5, 2))
                mariadb.kill()
                time.sleep(chance.uniform(0.1, 1))
                mariadb.start()
            time.sleep(1)
        traces = server.traces()
        server.stop()
        settled(root, environ=environ)
        figure: dict[str, Any] = {
            "kills": kills,
            **differences(in_database(mariadb, name), load.given),
            "statuses": load.statuses,
            "tracebacks": traces,
        }
    return figure, figure["given"] > 0 and not (figure["lost"] or figure["doubled"] or figure["altered"]) and set(load.statuses) == {200}


def dropping_link(trained: Path, quick: bool) -> tuple[dict[str, Any], bool]:
    """The link to MariaDB refuses, falls silent, is slow and cuts answers in the middle, in turn and at random, under load."""
    chance, turns = random.Random(7), 6 if quick else 60
    with database() as (mariadb, name), copy_of(trained) as root, FaultyLink(mariadb.port) as link:
        environ = environment(root, mariadb, name, link.port)
        server = Server(root, environ=environ)
        with Load(server.port, keyed=True, headers=CALLER) as load:
            for _ in range(turns):
                link.fault = chance.choice(FAULTS)
                time.sleep(chance.uniform(0.2, 2))
                link.fault = None
                time.sleep(chance.uniform(0, 0.5))
        traces = server.traces()
        server.stop()
        settled(root, environ=environ)
        figure: dict[str, Any] = {
            "faults": turns,
            **differences(in_database(mariadb, name), load.given),
            "statuses": load.statuses,
            "tracebacks": traces,
        }
    return figure, figure["given"] > 0 and not (figure["lost"] or figure["doubled"] or figure["altered"]) and set(load.statuses) == {200}


def every_endpoint(trained: Path, quick: bool) -> tuple[dict[str, Any], bool]:  # noqa: ARG001 -- every experiment takes it
    """Every endpoint, while the database refuses, is silent, slow, or cuts: from the start on, and later under load, all asked at once."""
    wrong: dict[str, str] = {}
    slowest = {"independent_s": 0.0, "stored_s": 0.0}
    asked = 0
    schema = Registry(trained / "models/registry").load("production").schema
    columns = {name: name in schema.numeric for name in schema.columns}
    for fault in FAULTS:
        with database() as (mariadb, name), copy_of(trained) as root, FaultyLink(mariadb.port) as link:
            environ = environment(root, mariadb, name, link.port)
            link.fault = fault
            server = Server(root, environ=environ)
            one = call(server.port, "POST", "/predict", ROW, CALLER).body["prediction_id"]
            for moment in ("start", "load"):
                asks = requests(one, "t", "xgboost", columns) | page_requests(one, "t", "xgboost")
                with Load(server.port, callers=2, headers=CALLER):
                    answers = _all_at_once(server.port, asks)
                for endpoint, response in answers.items():
                    asked += 1
                    kind = "independent_s" if asks[endpoint].is_independent else "stored_s"
                    slowest[kind] = max(slowest[kind], round(response.seconds, 2))
                    if text := problem_of(asks[endpoint], response.status, response.seconds, response.headers):
                        wrong[f"{endpoint}, {fault}, {moment}"] = text
                if moment == "start":
                    link.fault = None
                    _healthy(server.port)
                    for made in ("ab_create", "create_key"):
                        call(server.port, "POST", asks[made].path, asks[made].body, CALLER)
                    link.fault = fault
            link.fault = None
            server.stop()
    return {"asked": asked, "wrong": wrong, **slowest}, not wrong


def _all_at_once(port: int, asks: Mapping[str, Ask]) -> dict[str, Response]:
    with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
        waiting = {name: pool.submit(call, port, ask.method, ask.path, ask.body, {**CALLER, **ask.headers}) for name, ask in asks.items()}
        return {name: each.result() for name, each in waiting.items()}


def _healthy(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        body = call(port, "GET", "/health", headers=CALLER).body
        if body["status"] == "ok" and not body["journal"]["depth"]:
            return
        time.sleep(0.2)


EXPERIMENTS = {
    "frozen_database": frozen_database,
    "kill_database": kill_database,
    "dropping_link": dropping_link,
    "every_endpoint": every_endpoint,
}

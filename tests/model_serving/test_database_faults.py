"""Every endpoint while the database refuses, is silent, slow, or cuts its answers: at the start, and later, all asked at once."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from database_faults import FAULTS, Ask, Fault, FaultyLink, problem_of, requests
from journal_support import until
from mariadb_server import MariaDB
from serving_support import Client
from sporeprint.model_serving.http.authentication import BOOTSTRAP_VARIABLE, REQUIRED_ROLES
from sporeprint.settings import Settings
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import migrate

#: Endpoints that are pages for people; tests/model_serving/ui asks for them.
PAGES = "ui_"
KEY = "0123456789abcdef" * 3


@pytest.fixture
def link(mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyLink]:
    """The way to a database with tables, which the environment names; and a key that needs no database."""
    address = mariadb.url(database=mariadb.create_database())
    engine = connect(address)
    migrate.upgrade(engine)
    engine.dispose()
    (tmp_path / "key").write_text(KEY)
    with FaultyLink(mariadb.port) as link:
        monkeypatch.setenv("SPOREPRINT_OLTP_URL", address.set(port=link.port).render_as_string(hide_password=False))
        monkeypatch.setenv(BOOTSTRAP_VARIABLE, str(tmp_path / "key"))
        yield link


def ask_all(client: Client, asks: dict[str, Ask]) -> dict[str, tuple[int, float, Any]]:
    """All at once: endpoint -> status, seconds, headers."""

    async def ask(one: Ask) -> tuple[int, float, Any]:
        began = time.monotonic()
        response = await client._client.request(one.method, one.path, json=one.body, headers=one.headers)
        return response.status_code, time.monotonic() - began, response.headers

    async def ask_each() -> list[tuple[int, float, Any]]:
        return list(await asyncio.gather(*map(ask, asks.values())))

    return dict(zip(asks, client.run(ask_each()), strict=True))


def problems(client: Client, asks: dict[str, Ask]) -> dict[str, str]:
    answers = ask_all(client, asks)
    # A busy machine is slow; a wait for the driver, which gives up after 12 s a call, is slower.
    return {name: text for name, ask in asks.items() if (text := problem_of(ask, *answers[name], patience=2))}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_endpoint_answers_in_time_and_truthfully(
    started: Callable[..., Client], small_settings: Settings, link: FaultyLink, fault: Fault
) -> None:
    columns = {name: name in small_settings.dataset.numeric for name in small_settings.dataset.columns}
    link.fault = fault
    client = started()
    client.headers["authorization"] = f"Bearer {KEY}"
    one = client.post("/predict", json={}).json()["prediction_id"]
    asks = requests(one, "t", "xgboost", columns)
    assert set(asks) - {"predict with a key"} == {name for name in REQUIRED_ROLES if not name.startswith(PAGES)} - {"docs_asset"}
    assert problems(client, {name: ask for name, ask in asks.items() if ask.is_independent}) == {}
    if fault != "slow":
        assert client.get("/health").json()["database"]["status"] == "away"
    link.fault = None
    until(lambda: client.get("/health").json()["status"] == "ok", 30)
    for name in ("ab_create", "create_key"):
        assert client.post(asks[name].path, json=asks[name].body).status_code == 201
    until(lambda: client.get("/health").json()["journal"]["depth"] == 0, 30)
    link.fault = fault
    assert problems(client, requests(one, "t", "xgboost", columns)) == {}
    link.fault = None
    until(lambda: client.get("/health").json()["status"] == "ok", 30)
    answers = ask_all(client, requests(one, "t", "xgboost", columns))
    assert {name: status for name, (status, _, _) in answers.items() if status >= 500} == {}

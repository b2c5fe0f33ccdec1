"""Every endpoint while the database refuses, is silent, slow, or cuts its answers: at the start, and later, all asked at once."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from database_faults import FAULTS, Ask, Fault, FaultyLink, page_requests, problem_of, requests
from journal_support import until
from mariadb_server import MariaDB
from serving_support import Client
from sporeprint.model_serving.http.authentication import BOOTSTRAP_VARIABLE, REQUIRED_ROLES
from sporeprint.model_serving.ui.page_endpoint import MOST_IN_FLIGHT
from sporeprint.settings import Settings
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import api_keys, migrate

#: Endpoints that are pages for people.
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


def ask_all(client: Client, asks: dict[str, Ask], at_once: int | None = None) -> dict[str, tuple[httpx.Response, float]]:
    """Endpoint -> response, seconds; so many at once, or all of them."""

    async def ask(one: Ask) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        body: dict[str, Any] = {"content" if isinstance(one.body, bytes) else "json": one.body}
        response = await client._client.request(one.method, one.path, headers=one.headers, **body)
        return response, time.monotonic() - began

    async def ask_each() -> list[tuple[httpx.Response, float]]:
        every = list(asks.values())
        size = at_once or len(every)
        parts = [every[first : first + size] for first in range(0, len(every), size)]
        return [answer for part in parts for answer in await asyncio.gather(*map(ask, part))]

    return dict(zip(asks, client.run(ask_each()), strict=True))


def problems(client: Client, asks: dict[str, Ask], at_once: int | None = None) -> dict[str, str]:
    found = {}
    for name, (response, seconds) in ask_all(client, asks, at_once).items():
        # A busy machine is slow; a wait for the driver, which gives up after 12 s a call, is slower.
        if text := problem_of(asks[name], response.status_code, seconds, response.headers, patience=2):
            found[name] = text
        if asks[name].is_page and response.status_code == 503 and not re.search("<p class=.*the database", response.text):
            found[name] = f"the page does not say why: {response.text}"
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_every_endpoint_answers_in_time_and_truthfully(
    started: Callable[..., Client], small_settings: Settings, link: FaultyLink, fault: Fault, caplog: pytest.LogCaptureFixture
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
    pages = page_requests(one, "t", "xgboost")
    assert problems(client, requests(one, "t", "xgboost", columns)) == {}
    assert problems(client, pages, MOST_IN_FLIGHT) == {}
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    link.fault = None
    until(lambda: client.get("/health").json()["status"] == "ok", 30)
    answers = ask_all(client, requests(one, "t", "xgboost", columns)) | ask_all(client, pages, MOST_IN_FLIGHT)
    assert {name: response.text for name, (response, _) in answers.items() if response.status_code >= 500} == {}


def test_what_waits_for_the_database_holds_up_nobody_else(started: Callable[..., Client], link: FaultyLink) -> None:
    client = started()
    client.headers["authorization"] = f"Bearer {KEY}"
    promotions = {f"promotion {n}": Ask("POST", "/models/xgboost/promote", 503, {"version": 1}) for n in range(12)}
    rollbacks = {f"rollback {n}": Ask("POST", "/models/xgboost/rollback", 503, {"version": 1}) for n in range(12)}
    link.fault = "silent"
    answers = ask_all(
        client, {**promotions, **rollbacks, "models": Ask("GET", "/models"), "batch": Ask("POST", "/predict/batch", body=[{}])}
    )
    (models, models_s), (batch, batch_s) = answers.pop("models"), answers.pop("batch")
    assert {response.status_code for response, _ in answers.values()} == {503}
    assert (models.status_code, batch.status_code) == (200, 200)
    assert max(models_s, batch_s) < min(seconds for _, seconds in answers.values())


def test_a_key_that_was_made_is_told_though_the_database_is_silent_afterwards(
    started: Callable[..., Client], link: FaultyLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = started()
    client.headers["authorization"] = f"Bearer {KEY}"
    made = api_keys.create

    def create(*args: Any, **named: Any) -> Any:
        result = made(*args, **named)
        link.fault = "silent"
        return result

    monkeypatch.setattr(api_keys, "create", create)
    response = client.post("/keys", json={"name": "shop", "roles": ["predict"]})
    assert response.status_code == 201
    link.fault = None
    until(lambda: client.post("/predict", json={}, headers={"authorization": f"Bearer {response.json()['key']}"}).status_code == 200, 30)

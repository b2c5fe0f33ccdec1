"""The numbers in the navigation."""

import asyncio
import re
import socket
import time
from collections.abc import Callable

from sqlalchemy import URL, Engine, event

from page_support import until_ready
from serving_support import Client
from sporeprint.model_serving.ui.open_counts import PATIENCE_S, SHARED_S, OpenCounts, RecentCounts
from sporeprint.storage.engine import connect
from sporeprint.storage.executor import DatabaseExecutor
from sporeprint.storage.oltp import alerts
from watch_support import raise_alert

PAGES = ("", "identify", "models", "settings")


def shown(client: Client, page: str = "") -> dict[str, str]:
    """Path of a page -> the number beside it."""
    nav = client.get(f"/ui/{page}", headers={"accept-language": "en"}).text.partition("</nav>")[0]
    return dict(re.findall(r'href="/ui/([\w-]*)"[^>]*>[^<]* <span class="count">(\d+)<', nav))


def test_every_page_says_how_many_alerts_are_on_and_tests_run(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    assert shown(client) == {}
    engine: Engine = client.app.state.service.database.engine
    raise_alert(engine)
    raise_alert(engine, "performance", "accuracy fell")
    fields = {"name": "trial", "model_a": "xgboost", "model_b": "decision_tree", "mode": "shadow"}
    client.post("/ab-tests", json=fields).raise_for_status()
    assert alerts.count_on(engine) == len(alerts.list_alerts(engine)) == 2
    time.sleep(SHARED_S)
    for page in PAGES:
        assert shown(client, page) == {"tests": "1", "alerts": "2"}, page


def test_the_database_is_asked_once_a_second(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    asked: list[str] = []
    event.listen(client.app.state.service.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    begin = time.monotonic()
    for page in PAGES * 5:
        client.get(f"/ui/{page}")
    times = sum("count(*)" in each and "FROM alert" in each for each in asked)
    assert times <= (time.monotonic() - begin) / SHARED_S + 1
    time.sleep(SHARED_S)
    client.get("/ui/identify")
    assert sum("count(*)" in each and "FROM alert" in each for each in asked) > times


def test_a_silent_database_leaves_the_numbers_out_and_does_not_hold_up_a_page() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        address = URL.create("mysql+pymysql", username="u", host="127.0.0.1", port=listening.getsockname()[1], database="d")
        calls, recent = DatabaseExecutor(connect(address, answer_s=1), wait_s=1), RecentCounts()

        async def several() -> tuple[list[float], OpenCounts | None]:
            took = []
            for _ in range(3):
                began = time.monotonic()
                assert await recent.counts(calls) is None
                took.append(time.monotonic() - began)
            await asyncio.sleep(1)
            return took, await recent.counts(calls)  # given up, and not asked again at once

        took, last = asyncio.run(several())
        assert max(took) < 3 * PATIENCE_S
        assert last is None
        calls.close()
        calls.engine.dispose()

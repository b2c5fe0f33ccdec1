"""A person's way through an A/B test in a real browser: made, labelled by keys, concluded, rolled back; and each key does what it says."""

import functools
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from ab_support import other, row, ship, until
from browser import Browser
from serving_support import Server, start_server, write_config
from sporeprint import settings
from sporeprint.registry.registry import Registry
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import ab_tests

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def root(_small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(_small_run, tmp_path_factory.mktemp("ab") / "work"))


@pytest.fixture(scope="module")
def server(root: Path, _small: dict[str, Any]) -> Iterator[Server]:
    changed = {**_small, "gate": {"margin": 0.99}, "ab_testing": {"evaluate_every_s": 0.3}}
    server = start_server(root, write_config(changed, root.parent / "config.yaml"))
    yield server
    server.end()


@pytest.fixture(scope="module")
def engine(root: Path, _small: dict[str, Any], server: Server) -> Iterator[Engine]:
    engine = connect(urls.oltp(settings.parse(_small).storage, root))
    yield engine
    engine.dispose()


@pytest.fixture
def browser(browser: Browser) -> Browser:
    browser.screen(1280)
    return browser


def disagree(server: Server, engine: Engine, name: str, count: int) -> list[str]:
    """Requests on which the versions of a test differ, once the server has counted them."""
    test = ab_tests.get(engine, name)
    numbers = [next(NUMBERS) for _ in range(count)]
    rows = [row(number, test, f"u{number}", "edible", shadow=other("poisonous")) for number in numbers]
    ship(engine, [{**each, "features": '{"cap-shape": "x"}'} for each in rows])
    until(lambda: server.client.get(f"/ab-tests/{name}").json()["awaiting_label"] >= count)
    return [each["prediction_id"] for each in rows]


def outcome(client: httpx.Client, prediction_id: str) -> Any:
    return client.get(f"/predictions/{prediction_id}").json()["outcome"]


def has_outcome(client: httpx.Client, prediction_id: str, code: str | None) -> bool:
    return (outcome(client, prediction_id) or {}).get("outcome") == code


def test_a_test_is_made_labelled_by_keys_concluded_and_rolled_back(
    browser: Browser, base: str, server: Server, engine: Engine, root: Path
) -> None:
    registry = Registry(root / "models/registry")
    before = registry.production()
    assert before is not None
    winner = next(name for name in registry.names() if name != before.name)
    browser.open(f"{base}tests/new")
    choices = {"name": "way", "model_a": before.ref, "model_b": f"{winner}/v1", "guardrail": ""}
    for name, value in choices.items():
        browser.run(f"document.querySelector('[name={name}]').value = {value!r}")
    browser.click("label:has([name=mode][value=shadow])")
    browser.click(".actions .main")
    browser.wait("location.pathname.endsWith('/tests/way') && document.querySelector('#live')")
    items = disagree(server, engine, "way", 12)
    browser.wait("document.querySelector('#live').innerText.includes('12 units')")  # the page looks every five seconds
    browser.click("a[href$='/label']")
    browser.wait("document.querySelector('.item:not([hidden])')")
    for place in range(len(items)):  # B is right each time
        browser.wait(f"document.querySelector('[name=prediction_id]').value === {items[-1 - place]!r}")
        browser.press("2")
    browser.wait("document.querySelector('#label').hidden")
    until(lambda: all(outcome(server.client, item) for item in items))  # they are sent at once, and arrive in any order
    assert {outcome(server.client, item)["outcome"] for item in items} == {"p"}
    until(lambda: server.client.get("/ab-tests/way").json()["interim_analysis"]["labels"] == len(items))
    browser.open(f"{base}tests/way")
    browser.click("label:has([name=winner][value=B])")
    browser.run("document.querySelector('#conclude-reason').value = 'every label said so'")
    browser.click("#conclude button")
    browser.wait("document.querySelector('#live') && !document.querySelector('#conclude')")
    until(lambda: {each["event"] for each in server.client.get("/ab-tests/way").json()["events"]} & {"promoted", "promotion_refused"}, 120)
    browser.wait("document.querySelector('#rollback')")  # the page has looked again meanwhile
    assert registry.production() == registry.resolve(f"{winner}/v1")
    browser.run("document.querySelector('#rollback-reason').value = 'too slow'")
    browser.click("#rollback button")
    browser.wait("document.readyState === 'complete' && !document.querySelector('#rollback') && document.querySelector('#live')")
    assert registry.production() == before
    assert "rolled back" in browser.run("document.querySelector('#live').innerText")
    assert browser.messages == []


@pytest.fixture
def queue(server: Server, engine: Engine) -> tuple[str, list[str]]:
    """A shadow test of its own, and its items, the first to be labelled first."""
    name = f"keys{next(NUMBERS)}"
    fields = {"name": name, "model_a": "xgboost", "model_b": "logistic_regression", "mode": "shadow", "independent": True}
    server.client.post("/ab-tests", json=fields).raise_for_status()
    return name, disagree(server, engine, name, 8)[::-1]


def test_every_key_of_the_cheat_sheet_does_something(browser: Browser, base: str, server: Server, queue: tuple[str, list[str]]) -> None:
    name, items = queue
    browser.open(f"{base}tests/{name}/label")
    seen = [browser.run("document.querySelectorAll('#sheet kbd').length")]
    shown = "document.querySelector('[name=prediction_id]').value"

    def press(key: str, becomes: str) -> None:
        browser.press(key)
        browser.wait(becomes)
        seen.append(key)

    press("?", "document.querySelector('#sheet').open")
    press("1", f"{shown} === {items[1]!r} && document.querySelector('#last')")
    assert browser.run("document.querySelector('#last').innerText").startswith("Your label: edible. A had answered edible, B poisonous.")
    press("2", f"{shown} === {items[2]!r}")
    press("0", f"{shown} === {items[3]!r}")
    press("s", f"{shown} === {items[4]!r}")
    press("ArrowLeft", f"{shown} === {items[3]!r}")
    press("ArrowRight", f"{shown} === {items[4]!r}")
    press("u", f"{shown} === {items[3]!r}")
    browser.press("2")  # what could not be told can be, after all
    press("n", "document.activeElement.id === 'note'")
    for key in "12us?":  # while somebody types, keys are letters
        browser.press(key)
    assert browser.run("document.activeElement.value") == "12us?"
    assert browser.run(shown) == items[4]
    browser.press("Escape")
    browser.wait("document.activeElement === document.body")
    assert seen[0] == len(seen) - 1, "a key of the sheet was not tried"
    for item, code in zip(items, ("e", "p", None, "p"), strict=False):
        until(functools.partial(has_outcome, server.client, item, code))
    browser.click("label:has(#keys-on)")
    browser.press("2")
    assert browser.run(shown) == items[4]
    browser.open(f"{base}tests/{name}/label")  # it stays switched off
    assert not browser.run("document.querySelector('#keys-on').checked")
    browser.click("[data-key='2']")  # every key is a button, too
    browser.wait(f"{shown} === {items[5]!r}")
    assert browser.messages == []


def test_a_label_that_is_refused_brings_its_item_back(browser: Browser, base: str, server: Server, queue: tuple[str, list[str]]) -> None:
    name, items = queue
    browser.open(f"{base}tests/{name}/label")
    server.client.post(f"/predictions/{items[0]}/outcome", json={"outcome": "e"}).raise_for_status()
    browser.press("2")
    browser.wait("document.querySelector('#items [role=alert]')")
    assert "was reported elsewhere meanwhile: your label was not stored" in browser.run(
        "document.querySelector('#items [role=alert]').innerText"
    )
    assert browser.run("document.querySelector('[name=prediction_id]').value") == items[0]
    assert outcome(server.client, items[0])["outcome"] == "e"


def test_of_two_labels_of_an_item_the_later_one_stays_however_long_the_first_takes(
    browser: Browser, base: str, server: Server, queue: tuple[str, list[str]]
) -> None:
    name, items = queue
    browser.open(f"{base}tests/{name}/label")
    browser.run(
        "(real => { window.asked = window.answered = 0; window.fetch = async (...given) => {"
        " if (!window.asked++) await new Promise(go => setTimeout(go, 500));"
        " const answer = await real(...given); setTimeout(() => window.answered++, 100); return answer; }; })(window.fetch)"
    )
    for key in "1u2":
        browser.press(key)
    browser.wait("window.answered === 2")
    assert browser.run("document.querySelector('#last').innerText").startswith("Your label: poisonous.")
    assert browser.run("document.querySelector('[name=prediction_id]').value") == items[1]
    assert not browser.run("Boolean(document.querySelector('#items [role=alert]'))")
    until(functools.partial(has_outcome, server.client, items[0], "p"))


def test_a_note_is_not_lost_when_the_answer_to_the_label_before_arrives(browser: Browser, base: str, queue: tuple[str, list[str]]) -> None:
    name, items = queue
    browser.open(f"{base}tests/{name}/label")
    browser.run(
        "(real => { window.fetch = (...given) => new Promise(go => { window.answer = () => go(real(...given)); }); })(window.fetch)"
    )
    browser.press("2")
    browser.wait("window.answer")
    browser.press("n")
    for key in "half":
        browser.press(key)
    browser.run("window.answer()")
    browser.wait("document.querySelector('#last')")
    assert browser.run("document.querySelector('[name=prediction_id]').value") == items[1]
    assert browser.run("[document.activeElement.id, document.activeElement.value]") == ["note", "half"]


def test_the_queue_works_without_scripts(browser: Browser, base: str, server: Server, queue: tuple[str, list[str]]) -> None:
    name, items = queue
    browser.scripts(are_on=False)
    browser.open(f"{base}tests/{name}/label")
    browser.click("[data-key='2']")
    browser.wait("location.search.includes('last=') && document.querySelector('#last')")
    assert outcome(server.client, items[0])["outcome"] == "p"
    browser.click("#last a")
    browser.wait(f"location.search.includes('item={items[0]}')")
    browser.click("[data-key='1']")
    browser.wait("location.search.includes('last=')")
    assert outcome(server.client, items[0])["revision"] == 2

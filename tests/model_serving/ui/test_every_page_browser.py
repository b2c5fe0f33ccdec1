"""Every page in a real browser, of a server that has something of each kind: no violation of WCAG 2.2 AA, no message, nothing from another
host, never wider than its window, light on the wire."""

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest
from sqlalchemy import Engine

from ab_support import other, row, ship, until
from accessibility import violations
from browser import Browser
from registry_support import further_version
from serving_support import Server, start_server, write_config
from sporeprint import settings
from sporeprint.model_serving.ui.routes import UI_ROUTES
from sporeprint.registry.registry import Registry
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import ab_tests
from watch_support import add_evaluations, add_runs, raise_alert

WIDTHS = (320, 390, 768, 1280)
#: Widths at which the rules are tried: one light and one in the dark, by turns, so that what pages share is seen in all four ways.
RULES_AT = (390, 1280)
#: Bytes of a first visit with everything that a page links, as they come over the wire; with its charts.
MOST_BYTES, MOST_BYTES_WITH_CHARTS = 60_000, 100_000
#: Routes -> their addresses here, below `/ui/`.
ADDRESSES = {
    "ui_overview": ("",),
    "ui_identify": ("identify", "identify?cap-shape=x&cap-color=n&stem-height=5", "identify?cap-shape=nothing&stem-height=tall"),
    "ui_predictions": ("predictions", "predictions?verdict=edible&until=2001-01-01", "predictions?since=yesterday"),
    "ui_prediction": ("predictions/{prediction}",),
    "ui_batches": ("batches",),
    "ui_batch": ("batches/{batch}",),
    "ui_models": ("models",),
    "ui_model": ("models/xgboost/v2", "models/decision_tree/v1"),
    "ui_model_history": ("models/history",),
    "ui_model_compare": ("models/compare?a=xgboost/v1&b=xgboost/v2&all=1", "models/compare?a=xgboost/v1&b=decision_tree/v1"),
    "ui_tests": ("tests", "tests?status=concluded"),
    "ui_test": ("tests/shadow", "tests/split", "tests/done"),
    "ui_test_plan": ("tests/new", "tests/new?model_a=xgboost/v1&model_b=xgboost/v2&rate_a=0.02&per_day=1000"),
    "ui_labels": ("labels",),
    "ui_label": ("tests/shadow/label", "tests/split/label"),
    "ui_monitoring": ("monitoring",),
    "ui_evaluation": ("monitoring/run-040",),
    "ui_alerts": ("alerts", "alerts?over=true"),
    "ui_alert": ("alerts/{alert}",),
    "ui_runs": ("runs", "runs?status=running"),
    "ui_run": ("runs/20261101T000003Z-aaaa", "runs/20261101T000002Z-aaaa"),
    "ui_rejected": ("runs/20261101T000003Z-aaaa/rejected",),
    "ui_settings": ("settings",),
    "ui_keys": ("keys",),
    "ui_audit": ("audit", "audit?subject=nobody"),
    "ui_login": ("login?to=models",),
    "ui_missing": ("no/such/page", "predictions/no-such-prediction"),
}
#: What is no page: another address of one, or a file.
NO_PAGES = {"ui_asset", "ui_root", "ui_batch_file", "ui_model_file", "ui_evaluation_report", "ui_rejected_file", "ui_test_report"}


@pytest.fixture(scope="module")
def root(_small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(_small_run, tmp_path_factory.mktemp("pages") / "work"))
    further_version(Registry(root / "models/registry"), "xgboost/v1", simulated=True)
    rejected = pl.DataFrame(
        {"_row": [3, 9], "cap-shape": ["q", None], "stem-width": ["17.wrz", "4"], "rules": [["number:stem-width"], ["required:cap-shape"]]}
    )
    (root / "data/validation/rejected").mkdir(parents=True, exist_ok=True)
    rejected.with_columns(reason=pl.lit("a sentence"), text=pl.lit(None, pl.String)).write_parquet(
        root / "data/validation/rejected/20261101T000003Z-aaaa.parquet"
    )
    return root


@pytest.fixture(scope="module")
def server(root: Path, _small: dict[str, Any]) -> Iterator[Server]:
    config = write_config({**_small, "gate": {"margin": 0.99}, "ab_testing": {"evaluate_every_s": 0.3}}, root / "config.yaml")
    server = start_server(root, config)
    yield server
    server.end()


def add_tests(server: Server, engine: Engine) -> None:
    """A shadow test with two interim analyses, a split one without traffic, and one that was ended by hand."""
    client = server.client
    fields = {"model_a": "xgboost/v1", "model_b": "decision_tree/v1", "independent": True}
    more: dict[str, dict[str, Any]] = {
        "shadow": {"mode": "shadow"},
        "split": {"mode": "split", "traffic_split": 0.5},
        "done": {"mode": "shadow"},
    }
    for name, mode in more.items():
        client.post("/ab-tests", json={"name": name, **fields, **mode}).raise_for_status()
    for place, name in enumerate(("shadow", "done", "shadow", "done")):
        test, begin = ab_tests.get(engine, name), 100 * place
        rows = [row(number, test, f"u{number}", "edible", shadow=other("poisonous")) for number in range(begin, begin + 12)]
        ship(engine, [{**each, "features": json.dumps({"cap-shape": "x", "stem-height": 5.0})} for each in rows])
        until(functools.partial(has_units, client, name, 12 * (place // 2 + 1)))
        for each in rows[:4]:
            client.post(f"/predictions/{each['prediction_id']}/outcome", json={"outcome": "p"}).raise_for_status()
    client.post("/ab-tests/done/conclude", json={"winner": "A", "reason": "a test"}).raise_for_status()


def has_units(client: httpx.Client, name: str, least: int) -> bool:
    interim = client.get(f"/ab-tests/{name}").json()["interim_analysis"]
    return interim is not None and interim["units"] >= least


@pytest.fixture(scope="module")
def names(server: Server, root: Path, _small: dict[str, Any]) -> dict[str, str]:
    """Something of each kind; ids that addresses need."""
    engine = connect(urls.oltp(settings.parse(_small).storage, root))
    add_evaluations(engine, 40)
    add_runs(engine, 3)
    alert_id = raise_alert(engine, text="a-text-without-a-break-" * 20)
    client = server.client
    prediction = client.post("/predict", json={"cap-shape": "x", "cap-color": "n"}).json()["prediction_id"]
    client.post("/predict/batch", json=[{"cap-shape": "x"}, {"no": 1}])
    add_tests(server, engine)
    batches = until(lambda: client.get("/batches").json()["batches"])
    until(lambda: client.get(f"/predictions/{prediction}").status_code == 200)
    engine.dispose()
    return {"prediction": prediction, "batch": batches[0]["batch_id"], "alert": alert_id}


@pytest.fixture(scope="module")
def one_browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(chromium, tmp_path_factory.mktemp("browser") / "profile") as browser:
        browser.call("Network.setCacheDisabled", cacheDisabled=True)  # every visit is a first one
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Browser:
    one_browser.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "en"})
    one_browser.messages.clear()
    one_browser.requests.clear()
    return one_browser


def test_every_page_is_tried() -> None:
    pages = {route.name for route in UI_ROUTES if "GET" in (route.methods or ())}
    assert pages - NO_PAGES == set(ADDRESSES)


@pytest.mark.parametrize("route", ADDRESSES)
def test_a_page_breaks_no_rule_and_fits_its_window(browser: Browser, base: str, names: dict[str, str], route: str) -> None:
    for turn, path in enumerate(ADDRESSES[route], list(ADDRESSES).index(route)):
        browser.requests.clear()
        browser.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "en"})
        browser.screen(1280)
        browser.open(base + path.format(**names))
        assert {urlsplit(each).netloc for each in browser.requests if not each.startswith(("about:", "data:"))} == {urlsplit(base).netloc}
        has_charts = browser.run("Boolean(document.querySelector('svg[role=img]'))")
        assert sum(browser.requests.values()) <= (MOST_BYTES_WITH_CHARTS if has_charts else MOST_BYTES), browser.requests
        is_of_its_language(browser, "en")
        for place, width in enumerate(RULES_AT, turn):
            browser.screen(width, is_dark=bool(place % 2))
            assert violations(browser) == [], (path, width, place % 2)
        browser.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de"})
        browser.open(base + path.format(**names))
        is_of_its_language(browser, "de")
    # A browser notes a page that is answered with an error by itself; none is a fault of the server.
    own = [each for each in browser.messages if "Failed to load resource" not in each or "/ui/assets/" in each or "status of 5" in each]
    assert own == []


def is_of_its_language(browser: Browser, language: str) -> None:
    assert browser.run("document.documentElement.lang") == language
    is_within_its_window(browser)


def is_within_its_window(browser: Browser) -> None:
    for width in WIDTHS:
        browser.screen(width)
        assert browser.overflow <= 0, width


def test_the_rules_find_what_is_wrong(browser: Browser, base: str, names: dict[str, str]) -> None:
    browser.screen(1280)
    browser.open(f"{base}models")
    browser.run("document.querySelector('h1').style.color = '#999'")
    browser.run("document.querySelector('main').append(document.createElement('input'))")
    assert [each.partition(":")[0] for each in violations(browser)] == ["color-contrast", "label"]


def test_a_chart_is_read_by_pointer_and_by_keys(browser: Browser, base: str, names: dict[str, str]) -> None:
    browser.screen(1280)
    browser.open(f"{base}monitoring")
    chart = "document.querySelector('.chart svg.broad')"
    shown = f"""[...{chart}.querySelectorAll('.readout')].filter(each => each.lastChild.checkVisibility())
        .map(each => [...each.querySelectorAll('text')].map(text => text.textContent).join(' · '))"""
    assert browser.run(shown) == []
    browser.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    x, y, width, height = browser.run(f"(box => [box.x, box.y, box.width, box.height])({chart}.getBoundingClientRect())")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + width / 3, y=y + height / 2)
    browser.wait(f"{shown}.length === 1")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    browser.run(f"{chart}.focus()")
    browser.wait(f"{shown}.length === 1")
    last, said = browser.run(shown), f"{chart}.nextElementSibling.textContent"
    assert last[0].startswith("11 Dec 2026")
    browser.press("ArrowLeft")
    before = browser.run(shown)
    assert len(before) == 1
    assert before != last
    assert browser.run(said) == before[0]
    browser.press("Home")
    assert browser.run(shown)[0].startswith("2 Nov 2026")
    assert violations(browser) == []
    browser.press("Escape")
    assert browser.run(f"{shown}.length + {said}.length") == 0


def test_the_documentation_breaks_no_rule(browser: Browser, base: str, names: dict[str, str]) -> None:
    """As it is opened, with an operation that was called, and with the dialogue for a key; how light it is, is no promise."""
    browser.screen(1280)
    browser.open(base.replace("/ui/", "/docs"))
    browser.wait("document.querySelector('.opblock')")
    is_within_its_window(browser)
    browser.screen(1280)
    browser.click("#operations-default-predict .opblock-summary-control")
    browser.click("#operations-default-predict .execute")
    browser.wait("document.querySelector('.live-responses-table')")
    assert browser.run("document.querySelectorAll('.opblock:not(.is-open)').length") > 40  # so the page as it is opened is tried, too
    fits(browser)
    browser.click(".authorize")
    browser.wait("document.querySelector('.modal-ux')")
    fits(browser, within=".dialog-ux")
    assert {urlsplit(each).netloc for each in browser.requests if not each.startswith(("about:", "data:"))} == {urlsplit(base).netloc}
    assert browser.messages == []


def test_pages_that_answer_a_form_break_no_rule(browser: Browser, base: str, names: dict[str, str]) -> None:
    """The question before a promotion, as without scripts, and a new key, which is shown once: last, since from then on a key is needed."""
    browser.screen(1280)
    browser.open(f"{base}models/decision_tree/v1")
    browser.run("document.querySelector('form[action*=promote]').removeAttribute('data-confirm')")
    browser.run("document.querySelector('#promote-reason').value = 'why'")
    browser.click("form[action*=promote] > .actions .button.main")
    browser.wait("document.title.startsWith('Is it meant?')")
    fits(browser)
    browser.screen(1280)
    browser.open(f"{base}keys")
    browser.run("document.querySelector('#name').value = 'boss'; document.querySelector('[name=role-admin]').checked = true")
    browser.click(".button.main")
    browser.wait("document.querySelector('.secret')")
    fits(browser)
    browser.open(f"{base}keys")
    browser.wait("location.pathname.endsWith('/login')")
    fits(browser)
    assert browser.messages == []


def fits(browser: Browser, *, within: str = ":root") -> None:
    """At all widths. `within`: of a page that was tried before, what has come."""
    browser.wait("document.readyState === 'complete'")  # with its styles, without which a long word is wider than the window
    is_within_its_window(browser)
    for width, is_dark in zip(RULES_AT, (True, False), strict=True):
        browser.screen(width, is_dark=is_dark)
        browser.run("new Promise(requestAnimationFrame)")
        # The documentation follows the scheme by a script, which is called late where the machine is busy.
        follows = f"document.documentElement.classList.contains('dark-mode') === {str(is_dark).lower()}"
        browser.wait(f"!document.querySelector('#swagger-ui') || {follows}")
        assert violations(browser, within=within) == [], (width, is_dark)

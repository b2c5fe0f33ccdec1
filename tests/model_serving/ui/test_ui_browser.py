"""The paths a person goes through the pages, in a real browser."""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from browser import Browser
from registry_support import further_version
from serving_support import Server, start_server, write_config
from sporeprint import settings
from sporeprint.model_serving.ui.page_endpoint import SHARED_S
from sporeprint.registry.registry import Registry
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from watch_support import add_evaluations, add_runs, raise_alert

#: Longest that the gate may take, which starts a process for each question: this machine may be busy.
GATE_S = 120.0


@pytest.fixture(scope="module")
def registry(_small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The tree serves; there is a second version of another model, of invented rows."""
    root = Path(shutil.copytree(_small_run, tmp_path_factory.mktemp("ui") / "work"))
    registry = Registry(root / "models/registry")
    for name in ("xgboost", "decision_tree"):  # whichever was the best of so few rows
        registry.set_production(name, reason="a test", now=datetime.now(UTC))
    further_version(registry, "xgboost/v1", simulated=True)
    return registry


@pytest.fixture(scope="module")
def server(registry: Registry, _small: dict[str, Any]) -> Iterator[Server]:
    root = registry.root.parents[1]
    server = start_server(root, write_config({**_small, "gate": {"margin": 0.99}}, root / "config.yaml"))
    yield server
    server.end()


def test_identify_by_keyboard_alone_to_a_verdict(browser: Browser, base: str) -> None:
    browser.screen(1280)
    browser.open(f"{base}identify")
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.run("document.querySelector('[name=cap-shape]').closest('fieldset').previousElementSibling.querySelector('input').focus()")
    browser.press("Tab")
    assert browser.run("document.activeElement.name") == "cap-shape"
    browser.press("ArrowRight")
    browser.wait("document.querySelector('#panel').innerText.includes('1 of 20 fields')")
    browser.wait("location.search.startsWith('?cap-shape=')")
    assert browser.run("document.activeElement.name") == "cap-shape"  # the answer moves nobody's place
    browser.run("document.querySelector('.button.main').focus()")
    browser.press("Enter")
    browser.wait("document.querySelector('.verdict')")
    assert browser.messages == []


def looks_again(browser: Browser) -> None:
    browser.run("document.querySelector('[hx-trigger^=every]').dispatchEvent(new CustomEvent('every'))")


def test_a_live_page_looks_again_only_while_it_is_seen_and_paints_only_what_is_new(browser: Browser, base: str, server: Server) -> None:
    browser.screen(1280)
    browser.open(base)
    browser.run("document.querySelector('details').open = true")
    browser.run("window.seen = []; addEventListener('htmx:before:response', ({detail}) => seen.push(detail.ctx.response.status)); 0")
    looks_again(browser)
    browser.wait("seen.length === 1")
    looks_again(browser)
    browser.wait("seen.length === 2")
    assert browser.run("seen") == [200, 304]
    server.client.post("/predict", json={"cap-shape": "x"}).raise_for_status()
    time.sleep(SHARED_S)
    looks_again(browser)
    browser.wait("seen.length === 3 && document.querySelector('#overview').innerText.includes('% unknown')")
    assert browser.run("document.querySelector('details').open")  # what somebody opened stays so
    hide = "Object.defineProperty(document, 'hidden', {value: VALUE, configurable: true})"
    change = "document.dispatchEvent(new Event('visibilitychange'))"
    browser.run(f"{hide.replace('VALUE', 'true')}; {change}")
    looks_again(browser)
    assert browser.run("new Promise(done => setTimeout(() => done(seen.length), 300))") == 3
    browser.run(f"{hide.replace('VALUE', 'false')}; {change}")
    browser.wait("seen.length === 4")  # seen again, it looks at once
    assert browser.messages == []


def test_a_page_says_that_the_server_is_gone_and_that_it_is_back(browser: Browser, base: str) -> None:
    browser.screen(1280)
    browser.open(base)
    no_network = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.call("Network.emulateNetworkConditions", **no_network)
    looks_again(browser)
    browser.wait("document.querySelector('#problem [role=alert]')?.innerText.includes('does not answer')")
    assert browser.run("document.querySelector('#overview h1') !== null")
    browser.call("Network.emulateNetworkConditions", **{**no_network, "offline": False})
    looks_again(browser)
    browser.wait("!document.querySelector('#problem [role=alert]')")


def test_the_line_for_the_api_is_copied(browser: Browser, base: str) -> None:
    browser.screen(1280)
    browser.open(f"{base}identify")
    browser.run("document.querySelector('[name=cap-shape][value=x]').click()")
    browser.wait("document.querySelector('#panel').innerText.includes('1 of 20 fields')")
    browser.click(".same summary")
    browser.click(".same button")
    browser.wait("document.querySelector('.same button').textContent === 'Copied'")
    assert browser.messages == []


#: Checks a field when the page is there and its scripts are not yet.
EARLY = """
document.addEventListener("readystatechange", () => {
  if (document.readyState !== "interactive") return;
  const field = document.querySelector("[name=cap-shape][value=x]");
  field.checked = true;
  field.dispatchEvent(new Event("input", {bubbles: true}));
});
"""


def test_what_was_entered_before_the_scripts_were_there_counts(browser: Browser, base: str) -> None:
    browser.screen(1280)
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=EARLY)
    browser.open(f"{base}identify")
    browser.wait("document.querySelector('#panel').innerText.includes('1 of 20 fields')")
    assert browser.messages == []


def test_identify_without_scripts(browser: Browser, base: str) -> None:
    browser.screen(1280)
    browser.scripts(are_on=False)
    browser.open(f"{base}identify")
    browser.click("label:has([name=cap-shape][value=x])")
    browser.click(".nojs")
    browser.wait("location.search.includes('cap-shape=x') && document.readyState === 'complete'")
    assert "1 of 20 fields" in browser.run("document.querySelector('#panel').innerText")
    browser.click(".button.main")
    browser.wait("document.querySelector('.verdict')")
    browser.click("main ~ footer .plain")
    browser.wait("document.documentElement.lang === 'de'")


def test_a_shared_address_and_back_show_what_was_entered(browser: Browser, base: str, registry: Registry) -> None:
    golden = registry.load("production").golden.rows[0]
    row = {name: value for name, value in golden.items() if isinstance(value, str)}
    browser.open(f"{base}identify?" + "&".join(f"{name}={value}" for name, value in row.items()))
    assert browser.run("document.querySelectorAll('fieldset :checked:not([value=\"\"])').length") == len(row)
    browser.click(".button.main")
    browser.wait("document.querySelector('.verdict')")
    browser.run("history.back()")
    browser.wait("document.readyState === 'complete' && document.querySelector('#panel') && !document.querySelector('.verdict')")
    assert browser.run("document.querySelectorAll('fieldset :checked:not([value=\"\"])').length") == len(row)
    assert browser.messages == []


def test_two_versions_are_compared_and_one_is_promoted_once_after_a_question(browser: Browser, base: str, registry: Registry) -> None:
    browser.screen(1280)
    browser.open(f"{base}models")
    browser.click("[name=a][value='decision_tree/v1']")
    browser.click("[name=b][value='xgboost/v2']")
    browser.click("form[action$=compare] .button.main")
    browser.wait("document.title.startsWith('decision_tree/v1 · xgboost/v2')")
    browser.click("[formaction*=check]")
    browser.wait("document.querySelector('#promotion [role=status]')", GATE_S)
    says = browser.run("document.querySelector('#promotion').innerText")
    assert "The gate would let it pass." in says
    assert "does not pass" in says.partition("simulated")[0]  # it needs an explicit yes
    promote, dialog = "form[action*=promote] > .actions .button.main", "document.querySelector('#promote-dialog')"
    browser.run("document.querySelector('#promote-reason').value = 'better'")
    browser.click(promote)
    browser.wait(f"{dialog}.open")
    assert "In production is decision_tree/v1" in browser.run(f"{dialog}.innerText")
    browser.press("Escape")
    browser.wait(f"!{dialog}.open")
    browser.click(promote)
    browser.click("#promote-dialog .main")
    browser.wait("document.querySelector('#promotion [role=alert]')?.innerText.includes('SIMULATED')", GATE_S)
    assert browser.run("document.querySelector('#promote-reason').value") == "better"
    browser.click("[name=allow_simulated]")
    browser.click(promote)
    browser.wait(f"{dialog}.open")
    browser.run("(button => { button.click(); button.click(); })(document.querySelector('#promote-dialog .main'))")
    browser.wait("document.querySelector('h1').innerText === 'xgboost/v2 is in production'", GATE_S)
    assert [each.to for each in registry.history("production")][-2:] == ["decision_tree/v1", "xgboost/v2"]
    assert [each for each in browser.messages if "409" not in each] == []  # the browser notes that the gate refused

    browser.scripts(are_on=False)
    browser.open(f"{base}models/xgboost/v2")
    browser.click("#production-reason")
    browser.press("w")
    browser.click("form[action*=rollback] > .actions .button")
    browser.wait("document.title.startsWith('Is it meant?')")
    assert registry.history("production")[-1].to == "xgboost/v2"
    browser.click("[name=confirmed]")
    browser.wait("document.querySelector('h1').innerText === 'decision_tree/v1 is in production'")
    assert registry.history("production")[-1].undo


@pytest.fixture(scope="module")
def alert(server: Server, registry: Registry, _small: dict[str, Any]) -> str:
    """An alert that is on, beside evaluations and runs; its id."""
    engine = connect(urls.oltp(settings.parse(_small).storage, registry.root.parents[1]))
    add_evaluations(engine, 40)
    add_runs(engine, 3)
    alert_id = raise_alert(engine, text="a-text-without-a-break-" * 20)
    engine.dispose()
    return alert_id


def test_an_alert_is_acknowledged(browser: Browser, base: str, alert: str) -> None:
    browser.screen(390)
    browser.open(f"{base}alerts")
    browser.run(f"document.querySelector('a[href$=\"/{alert}\"]').focus()")
    browser.press("Enter")
    browser.wait("document.querySelector('#note')")
    browser.run("document.querySelector('#note').value = 'looking <b>into</b> it'")
    browser.click(".button.main")
    browser.wait("document.querySelector('.timeline')?.innerText.includes('looking <b>into</b> it')")
    assert browser.run("document.querySelector('#note').value") == ""
    browser.run("history.back()")
    browser.wait("document.readyState === 'complete'")
    assert browser.messages == []

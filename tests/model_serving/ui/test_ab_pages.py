"""The pages of A/B tests without a browser: what they show, what they refuse, and that nothing typed is lost or becomes markup."""

import itertools
import re
import time
from collections.abc import Callable

import httpx
import pytest

from ab_support import made, other, row, ship, until
from page_support import forget, log_in, send, until_ready, whole
from serving_support import Client
from sporeprint.model_serving.ui.page_endpoint import SHARED_S
from sporeprint.storage.oltp import ab_tests, api_keys
from sporeprint.storage.oltp.api_keys import Role

FRAGMENT = {"hx-request": "true"}
MARKUP = "<script>alert(1)</script>"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _empty(client: Client) -> None:
    """Before there is a test: each page says what to do first."""
    until_ready(client)
    page = client.get("/ui/tests")
    whole(page)
    assert "<h1>No A/B test yet.</h1>" in page.text
    assert 'href="/ui/tests/new"' in page.text
    queues = client.get("/ui/labels")
    whole(queues)
    assert "No shadow test runs." in queues.text


@pytest.fixture
def name(client: Client) -> str:
    """A shadow test with three disagreements."""
    name = f"t{next(NUMBERS)}"
    made(client, name, mode="shadow", min_units=1)
    traffic(client, name, 3)
    return name


def traffic(client: Client, name: str, count: int) -> list[str]:
    service = client.app.state.service
    test = ab_tests.get(service.database.engine, name)
    numbers = [1_000 + next(NUMBERS) for _ in range(count)]
    rows = [row(number, test, f"u{number}", "edible", shadow=other("poisonous")) for number in numbers]
    ship(service.database.engine, [{**each, "features": '{"cap-shape": "x", "stem-height": 5.0}'} for each in rows])
    service.experiments.refresh(name)
    return [each["prediction_id"] for each in rows]


def visit(client: Client, path: str) -> tuple[httpx.Response, dict[str, str]]:
    """A page as somebody sees it who was never there, and the cookie by which they are known from then on."""
    client.run(forget(client))
    page = client.get(path)
    client.run(forget(client))
    return page, {"cookie": page.headers["set-cookie"].partition(";")[0]}


def items(response: httpx.Response) -> list[str]:
    return [str(each["data-item"]) for each in whole(response).of("article")]


# --- the list, one test --------------------------------------------------------------------------------------------------


def test_the_list_says_what_follows_from_each(client: Client, name: str) -> None:
    page = client.get("/ui/tests?status=running")
    whole(page)
    assert f'href="/ui/tests/{name}"' in page.text
    assert "Keep going: after 3 requests and 0 labels" in page.text
    client.post(f"/ab-tests/{name}/conclude")
    assert f">{name}<" not in client.get("/ui/tests?status=running").text
    ended = client.get("/ui/tests?status=concluded").text
    assert f">{name}<" in ended
    for text in (ended, client.get(f"/ui/tests/{name}").text):
        assert "Ended by hand before its rule had decided: after 3 requests" in text
    assert client.get("/ui/tests?status=going").status_code == 400


def test_many_tests_are_pages_of_a_list(client: Client, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("sporeprint.model_serving.ui.ab_tests.AT_ONCE", 1)
    other_name = f"t{next(NUMBERS)}"
    made(client, other_name)
    first = client.get("/ui/tests").text
    older = re.search(r'href="(/ui/tests\?before=[^"]*)"', first)
    assert older is not None
    assert f">{other_name}<" in first
    assert f">{name}<" in client.get(older[1]).text


def test_a_page_shows_a_test_and_a_poll_only_what_is_new(client: Client, name: str) -> None:
    traffic(client, name, 2)
    page = client.get(f"/ui/tests/{name}")
    whole(page)
    for part in ("How sure", "Health", "What decides", "What happened", "disagreements wait for a label", 'class="chart"', "of all units"):
        assert part in page.text
    poll = re.search(r'hx-get="(/ui/tests/[^"]*)"', page.text)
    assert poll is not None
    nothing = client.get(poll[1], headers=FRAGMENT)
    assert (nothing.status_code, nothing.content) == (204, b"")
    traffic(client, name, 1)
    time.sleep(SHARED_S)
    new = client.get(poll[1], headers=FRAGMENT)
    assert new.text.startswith('<div id="live"')
    assert "6 units" in new.text
    client.post(f"/ab-tests/{name}/conclude")
    time.sleep(SHARED_S)
    ended = client.get(poll[1], headers=FRAGMENT)
    assert (ended.status_code, ended.headers["hx-refresh"]) == (204, "true")
    assert "hx-get" not in client.get(f"/ui/tests/{name}").text.partition('id="live"')[2]


def test_a_test_is_one_file_to_keep(client: Client, name: str) -> None:
    page = client.get(f"/ui/tests/{name}")
    assert f'href="/ui/tests/{name}/report"' in page.text
    file = client.get(f"/ui/tests/{name}/report")
    assert file.headers["content-disposition"] == f"attachment; filename=ab-test-{name}.html"
    assert file.text.startswith("<!doctype html>")
    assert client.get("/ui/tests/none/report").status_code == 404


def test_a_verdict_is_said_in_the_readers_language(client: Client, name: str) -> None:
    sentence = client.get(f"/ab-tests/{name}").json()["interim_analysis"]["decision"]["sentence"]
    assert sentence.startswith("Keep going: after 3 requests and 0 labels")
    page = client.get(f"/ui/tests/{name}", headers={"accept-language": "de"})
    assert "Weiter: nach 3 Anfragen und 0 Labels" in page.text
    assert "Keep going" not in page.text
    assert "guardrail" not in page.text


def test_a_test_without_traffic_says_how_to_send_some(client: Client) -> None:
    made(client, "fresh")
    page = client.get("/ui/tests/fresh")
    whole(page)
    assert "Nothing has been counted yet." in page.text
    assert "POST /predict?ab_test=fresh" in page.text
    assert client.get("/ui/tests/none").status_code == 404


def test_against_the_rule_only_with_a_reason_and_nothing_typed_is_lost(client: Client, name: str) -> None:
    path = f"/ui/tests/{name}/conclude"
    refused = send(client, path, winner="B", reason=" ")
    assert refused.status_code == 400
    whole(refused)
    assert "reason is missing" in refused.text
    assert re.search(r'value="B" checked', refused.text)
    wrong = send(client, path, winner="C", reason=MARKUP)
    assert wrong.status_code == 422
    assert MARKUP not in wrong.text
    assert "&lt;script&gt;alert(1)" in wrong.text
    done = send(client, path, winner="A", reason=MARKUP)
    assert done.headers["location"] == f"/ui/tests/{name}"
    page = client.get(f"/ui/tests/{name}").text
    assert "Concluded by hand, against the rule: A stays." in page
    assert MARKUP not in page
    again = send(client, path, winner="A", reason="typed")  # from a page that was open while the test ended
    assert again.status_code == 409
    assert "is concluded already" in again.text


def test_a_promotion_is_taken_back_with_a_reason(client: Client, name: str) -> None:
    path = f"/ui/tests/{name}/rollback"
    assert send(client, path, reason="").status_code == 422
    nothing = send(client, path, reason="worse")
    assert nothing.status_code == 409
    assert "no promotion to take back" in nothing.text


def test_a_page_of_another_site_ends_and_labels_nothing(client: Client, name: str) -> None:
    from_elsewhere = {"sec-fetch-site": "cross-site", "origin": "http://evil.example"}
    for action, fields in (
        ("conclude", {"winner": "A", "reason": "x"}),
        ("rollback", {"reason": "x"}),
        ("label", {"prediction_id": "p", "outcome": "p"}),
    ):
        assert send(client, f"/ui/tests/{name}/{action}", from_elsewhere, **fields).status_code == 403
    assert send(client, "/ui/tests/new", from_elsewhere, name="x").status_code == 403
    assert client.get(f"/ab-tests/{name}").json()["status"] == "running"


# --- planning ------------------------------------------------------------------------------------------------------------

FORM = {"name": "planned", "mode": "shadow", "metric": "accuracy", "unit": "header", "margin": "1.5", "guardrail": "", "days": "14"}
RATES = {"rate_a": "20", "factor": "0.25", "shared": "2", "per_day": "100"}


def test_a_plan_is_told_in_days(client: Client) -> None:
    plain = client.get("/ui/tests/new")
    whole(plain)
    assert "Enter how often A errs" in plain.text
    page = until(lambda: "wins in about" in (found := client.get("/ui/tests/new", params=FORM | RATES)).text and found, 60)
    whole(page)
    assert "B wins in about" in page.text
    assert "The 14 days that you allow suffice in nine of ten tests." in page.text
    assert "a margin of 0: with 0.015 it takes longer" in page.text
    fragment = client.get("/ui/tests/new", params=FORM | RATES, headers=FRAGMENT)
    assert fragment.text.startswith('<div id="plan"')
    wrong = client.get("/ui/tests/new", params=FORM | RATES | {"rate_a": "often"}, headers=FRAGMENT)
    assert "expected a number, got &#39;often&#39;" in wrong.text


def test_a_test_is_created_as_it_was_typed(client: Client) -> None:
    models = {"model_a": "xgboost/v1", "model_b": "logistic_regression/v1", "independent": "yes"}
    made_here = send(client, "/ui/tests/new", **FORM, **models)
    assert made_here.headers["location"] == "/ui/tests/planned", made_here.text
    test = client.get("/ab-tests/planned").json()
    design = test["design"]
    assert (test["mode"], design["margin"], design["guardrails"], design["max_duration_s"]) == ("shadow", 0.015, [], 14 * 86_400)
    assert design["unit"] == "prediction"
    again = send(client, "/ui/tests/new", **FORM, **models)
    assert again.status_code == 409
    whole(again)
    assert 'value="planned"' in again.text
    assert 'value="1.5"' in again.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": MARKUP}, "field &#39;name&#39;"),
        ({"margin": MARKUP}, "field &#39;margin&#39;: expected a number"),
        ({"alpha": "60"}, "expected below 0.5"),
        ({"model_a": "none/v1"}, "no model &#39;none&#39;"),
        ({"days": "-1"}, "field &#39;max_duration_s&#39;"),
        ({"metric": MARKUP}, "field &#39;metric&#39;"),
    ],
)
def test_what_cannot_be_created_stays_typed(client: Client, fields: dict[str, str], says: str) -> None:
    models = {"model_a": "xgboost/v1", "model_b": "logistic_regression/v1"}
    refused = send(client, "/ui/tests/new", **{**FORM, **models, "name": "typed", **fields})
    assert refused.status_code in (400, 404, 422)
    whole(refused)
    assert says in refused.text
    assert MARKUP not in refused.text
    assert client.get("/ab-tests/typed").status_code == 404


def test_a_test_that_is_called_as_a_page_is_found_by_its_id(client: Client) -> None:
    test = made(client, "new")
    assert f'href="/ui/tests/{test["test_id"]}"' in client.get("/ui/tests").text
    assert ">new<" in client.get(f"/ui/tests/{test['test_id']}").text


# --- labelling -----------------------------------------------------------------------------------------------------------


def test_items_are_labelled_blind_by_forms_alone(client: Client, name: str) -> None:
    path = f"/ui/tests/{name}/label"
    page, labeller = visit(client, path)
    first, *_ = items(page)
    assert "convex" in page.text
    assert "5 cm" in page.text
    assert "had answered" not in page.text
    done = send(client, path, labeller, prediction_id=first, outcome="p", source="lab", note=MARKUP)
    assert done.status_code == 303, done.text
    after = client.get(done.headers["location"], headers=labeller)
    assert "Your label: poisonous. A had answered edible, B poisonous." in after.text
    assert 'value="lab"' in after.text
    assert first not in items(after)
    again = client.get(f"{path}?item={first}", headers=labeller)
    assert items(again)[0] == first
    send(client, path, labeller, prediction_id=first, outcome="e")
    assert client.get(f"/predictions/{first}").json()["outcome"]["revision"] == 2
    refused = send(client, path, labeller, prediction_id=first, outcome="cannot_tell", note="typed")
    assert refused.status_code == 409
    assert 'value="typed"' in refused.text


def test_two_people_have_different_items_and_a_label_of_another_ones_is_refused(client: Client, name: str) -> None:
    path = f"/ui/tests/{name}/label"
    traffic(client, name, 4)
    (ada_page, ada_is), (bob_page, bob_is) = visit(client, path), visit(client, path)
    ada, bob = items(ada_page), items(bob_page)
    assert not set(ada) & set(bob)
    assert items(client.get(path, headers=ada_is)) == ada
    refused = send(client, path, {**bob_is, **FRAGMENT}, prediction_id=ada[0], outcome="p")
    assert refused.status_code == 409
    assert "somebody else has this item in hand: your label was not stored" in refused.text
    kept = send(client, path, {**ada_is, **FRAGMENT}, prediction_id=ada[0], outcome="p")
    assert kept.text.startswith('<div id="items"')
    assert ada[0] not in items_of(kept)
    assert client.get(f"{path}?item={ada[0]}", headers=bob_is).status_code == 404


def items_of(fragment: httpx.Response) -> list[str]:
    return re.findall(r'<article [^>]*data-item="([^"]*)"', fragment.text)


def test_a_page_open_while_its_test_ends_keeps_no_label(client: Client, name: str) -> None:
    path = f"/ui/tests/{name}/label"
    page, labeller = visit(client, path)
    client.post(f"/ab-tests/{name}/conclude")
    refused = send(client, path, labeller, prediction_id=items(page)[0], outcome="p")
    assert refused.status_code == 409
    assert "has ended: its labels no longer count" in refused.text
    assert items(client.get(path, headers=labeller)) == []


@pytest.mark.parametrize(
    "fields", [{}, {"outcome": MARKUP}, {"outcome": "p", "prediction_id": MARKUP}, {"outcome": "p", "note": "x" * 2_000}]
)
def test_what_is_no_label_is_refused(client: Client, name: str, fields: dict[str, str]) -> None:
    path = f"/ui/tests/{name}/label"
    refused = send(client, path, **{"prediction_id": "none", **fields})
    assert refused.status_code in (404, 422)
    whole(refused)
    assert MARKUP not in refused.text


def test_a_split_test_has_no_queue_and_says_why(client: Client) -> None:
    name = f"t{next(NUMBERS)}"
    made(client, name)
    page = client.get(f"/ui/tests/{name}/label")
    whole(page)
    assert "Nothing waits for a label now." in page.text
    assert "In a split test nobody knows" in page.text


def test_who_labels_alone_sees_the_queue_and_no_verdicts(started: Callable[..., Client]) -> None:
    client = started()
    engine = client.app.state.service.database.engine
    secrets = {role: api_keys.create(engine, role.value, frozenset({role}), now_us=1, actor="t")[1] for role in (Role.LABEL, Role.READ)}
    until(lambda: client.get("/ui/labels").status_code == 303)
    label, read = (log_in(client, secret) for secret in secrets.values())
    assert client.get("/ui/labels", headers=label).status_code == 200
    assert client.get("/ui/tests", headers=label).status_code == 403
    assert client.get("/ui/tests", headers=read).status_code == 200
    assert client.get("/ui/labels", headers=read).status_code == 403
    assert client.get("/ui/tests/new", headers=read).status_code == 403
    assert "Plan a test" not in client.get("/ui/tests", headers=read).text

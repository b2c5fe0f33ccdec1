"""Labels, plans, what is new, and the end of A/B tests over HTTP, by one server."""

import itertools
from typing import Any

import pytest

from ab_support import made, other, row, ship
from serving_support import Client
from sporeprint.storage.oltp import ab_labels, ab_tests

NUMBERS = itertools.count()


@pytest.fixture
def name(client: Client) -> str:
    """A shadow test with three disagreements."""
    name, engine = f"t{next(NUMBERS)}", client.app.state.service.database.engine
    made(client, name, mode="shadow", min_units=1)
    test = ab_tests.get(engine, name)
    first = 10 * (1 + next(NUMBERS))
    rows = [row(first + n, test, f"u{n}", "edible", shadow=other("poisonous")) for n in range(3)]
    ship(engine, [{**each, "features": '{"cap-shape": "x", "stem-height": 5.0}'} for each in rows])
    client.app.state.service.experiments.refresh(name)
    return name


def lease(client: Client, name: str, **fields: Any) -> Any:
    return client.post(f"/ab-tests/{name}/labels/lease", json=fields).json()


def label(client: Client, name: str, prediction_id: str, outcome: str, **fields: Any) -> Any:
    return client.post(f"/ab-tests/{name}/labels", json={"prediction_id": prediction_id, "outcome": outcome, **fields})


def test_an_item_is_seen_without_the_answers_and_told_with_them_once_it_is_labelled(client: Client, name: str) -> None:
    found = lease(client, name, count=2, labeller="ada")
    assert (found["running"], found["waiting"], found["enough"], len(found["items"])) == (True, 3, False, 2)
    assert found["fewest"] > 0
    item = found["items"][0]
    assert set(item) == {"prediction_id", "created", "features_in_words", "leased_until", "label", "a", "b"}
    assert item["label"] is item["a"] is item["b"] is None
    assert item["features_in_words"] == [{"column": "cap-shape", "says": "convex"}, {"column": "stem-height", "says": "5 cm"}]
    assert "poisonous" not in str(item)
    said = label(client, name, item["prediction_id"], "poisonous", labeller="ada", note="from a laboratory").json()
    assert (said["outcome"], said["revision"], said["a"], said["b"]) == ("p", 1, "edible", "poisonous")
    assert said["waiting"] == 2
    kept = client.get(f"/predictions/{item['prediction_id']}").json()["outcome"]
    assert (kept["outcome"], kept["source"]) == ("p", "local")
    corrected = label(client, name, item["prediction_id"], "e", labeller="ada", source="lab").json()
    assert (corrected["outcome"], corrected["revision"]) == ("e", 2)
    again = lease(client, name, labeller="ada", prediction_id=item["prediction_id"])["items"]
    assert [(each["label"], each["a"], each["b"]) for each in again] == [("e", "edible", "poisonous")]


def test_two_people_do_not_label_the_same_item(client: Client, name: str) -> None:
    ada, bob = (lease(client, name, labeller=who)["items"][0]["prediction_id"] for who in ("ada", "bob"))
    assert ada != bob
    refused = label(client, name, ada, "p", labeller="bob")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:sporeprint:problem:conflict")
    assert "somebody else has this item in hand: your label was not stored" in refused.json()["detail"]
    assert client.get(f"/predictions/{ada}").json()["outcome"] is None


def test_what_cannot_be_told_has_no_outcome(client: Client, name: str) -> None:
    item = lease(client, name)["items"][0]["prediction_id"]
    said = label(client, name, item, "cannot_tell", note="no cap").json()
    assert (said["outcome"], said["revision"], said["waiting"]) == (None, None, 2)
    assert client.get(f"/predictions/{item}").json()["outcome"] is None
    assert item not in {each["prediction_id"] for each in lease(client, name, count=20)["items"]}


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"outcome": "x"}, 422, "expected one of"),
        ({"prediction_id": "none"}, 404, "is no item of the test"),
        ({"note": "x" * 1001}, 422, "note"),
        ({"labeller": "a b"}, 422, "labeller"),
        ({"source": " "}, 422, "source"),
        ({"a": "edible"}, 422, "a"),
    ],
)
def test_what_is_no_label(client: Client, name: str, fields: dict[str, str], status: int, says: str) -> None:
    item = lease(client, name)["items"][0]["prediction_id"]
    found = client.post(f"/ab-tests/{name}/labels", json={"prediction_id": item, "outcome": "p", **fields})
    assert found.status_code == status, found.text
    assert says in found.json()["detail"]


def test_a_test_that_has_ended_takes_no_label(client: Client, name: str) -> None:
    item = lease(client, name)["items"][0]["prediction_id"]
    client.post(f"/ab-tests/{name}/conclude")
    assert lease(client, name) == {**lease(client, name), "items": [], "running": False, "enough": True}
    refused = label(client, name, item, "p")
    assert refused.status_code == 409
    assert "has ended: its labels no longer count" in refused.json()["detail"]
    assert client.post("/ab-tests/none/labels/lease", json={}).status_code == 404


def test_a_lease_ends(client: Client, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ab_labels, "LEASE_US", 0)
    items = [lease(client, name, labeller=who)["items"][0]["prediction_id"] for who in ("ada", "bob")]
    assert items[0] == items[1]


# --- what is new, the end ------------------------------------------------------------------------------------------------


def test_only_what_is_new_is_told(client: Client, name: str) -> None:
    test = client.get(f"/ab-tests/{name}").json()
    last = max(each["at_us"] for each in (*test["interim_analyses"], *test["events"]))
    for _ in range(2):  # an analysis that finds nothing new is none
        unchanged = client.get(f"/ab-tests/{name}?since={last}")
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        client.app.state.service.experiments.refresh(name)
    label(client, name, lease(client, name)["items"][0]["prediction_id"], "p")
    client.app.state.service.experiments.refresh(name)
    new = client.get(f"/ab-tests/{name}?since={last}").json()
    assert (len(new["interim_analyses"]), new["events"], new["interim_analysis"]["labels"]) == (1, [], 1)
    client.post(f"/ab-tests/{name}/conclude")
    assert [each["event"] for each in client.get(f"/ab-tests/{name}?since={last}").json()["events"]] == ["concluded"]
    assert client.get(f"/ab-tests/{name}?since=-1").status_code == 400


def test_against_the_rule_only_with_a_reason(client: Client, name: str) -> None:
    refused = client.post(f"/ab-tests/{name}/conclude", json={"winner": "A"})
    assert refused.status_code == 400
    assert "reason is missing: A is not what the test's rule says" in refused.json()["detail"]
    ended = client.post(f"/ab-tests/{name}/conclude", json={"winner": "A", "reason": "B is too slow"}).json()
    details = ended["events"][-1]["details"]
    assert (ended["verdict"], details["forced"], details["why"]) == ("a", True, "B is too slow")
    back = client.post(f"/ab-tests/{name}/rollback", json={"reason": "tried"})
    assert back.status_code == 409
    assert "no promotion to take back" in back.json()["detail"]
    assert client.post(f"/ab-tests/{name}/rollback", json={"reason": " "}).status_code == 422


# --- plans ---------------------------------------------------------------------------------------------------------------

PLAN = {"mode": "shadow", "rate_a": 0.2, "rate_b": 0.05, "shared": 0.02, "per_day": 100}


def test_a_plan_is_told_in_units_labels_and_days(client: Client) -> None:
    plan = client.post("/ab-tests/plan", json=PLAN).json()
    assert 0 < plan["units"]["median"] < plan["units"]["p90"]
    assert plan["labels"]["median"] < plan["units"]["median"]
    assert plan["days"] == {name: pytest.approx(units / 100) for name, units in plan["units"].items()}
    assert plan["fixed_horizon"]["units"] < plan["units"]["p90"]
    assert plan["assumes"] == []
    later = client.post("/ab-tests/plan", json={**PLAN, "min_units": 10**6, "margin": 0.01}).json()  # worked out already
    assert later["units"] == {"median": 10**6, "p90": 10**6}
    assert later["assumes"] == ["a margin of 0: with 0.01 it takes longer"]
    never = client.post(
        "/ab-tests/plan", json={**PLAN, "min_units": 10**18 * 9, "labels": "random", "label_share": 5e-324, "mode": "split"}
    )
    assert never.status_code in (200, 400), never.text


def test_one_plan_is_worked_out_at_a_time(client: Client) -> None:
    same = [{"json": {**PLAN, "rate_b": 0.06}}] * 2
    found = client.post_all("/ab-tests/plan", [*same, {"json": {**PLAN, "rate_b": 0.07}}])
    assert sorted(each.status_code for each in found) in ([200, 200, 503], [200, 503, 503])  # whichever came first
    refused = next(each for each in found if each.status_code == 503)
    assert "still under way" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rate_a": 0.05}, "rate_a and rate_b are both 0.05"),
        ({"shared": 0.5}, "shared is 0.5"),
        ({"rate_a": 1}, "below 1"),
        ({"unit": "nothing"}, "unit is 'nothing'"),
        ({"alpha": 5e-324}, "alpha is 5e-324: a plan needs at least 1e-09"),
        ({"per_day": 0}, "at least 0.001"),
        ({"days": 3}, "days"),
    ],
)
def test_what_cannot_be_planned(client: Client, fields: dict[str, Any], says: str) -> None:
    found = client.post("/ab-tests/plan", json={**PLAN, **fields})
    assert found.status_code in (400, 422)
    assert says in found.json()["detail"]

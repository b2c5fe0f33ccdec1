"""The list of versions with how they did, and the history of the aliases."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry_support import further_version
from serving_support import Client
from sporeprint.registry.registry import Registry


@pytest.fixture
def registry(small_copy: Path) -> Registry:
    registry = Registry(small_copy / "models/registry")
    for number in range(1, 4):
        further_version(registry, "xgboost/v1", number)
    return registry


def test_details_are_paged_and_left_out_unless_they_are_wanted(started: Callable[..., Client], registry: Registry) -> None:
    client = started()
    plain = {each["name"]: each for each in client.get("/models").json()["models"]}
    assert plain["xgboost"]["versions"] == [f"xgboost/v{number}" for number in range(1, 5)]
    assert plain["xgboost"]["details"] is None
    first = client.get("/models", params={"details": True, "limit": 3, "name": "xgboost"}).json()["models"]
    assert [each["name"] for each in first] == ["xgboost"]
    assert [each["version"] for each in first[0]["details"]] == [4, 3, 2]
    last = client.get("/models", params={"details": True, "limit": 3, "name": "xgboost", "before": first[0]["next"]}).json()["models"][0]
    assert [each["version"] for each in last["details"]] == [1]
    assert last["next"] is None
    assert last["details"][0]["aliases"][-1] == "champion"
    assert last["details"][0]["parts"][0]["metrics"]["accuracy"]["value"] > 0.5
    missing = client.get("/models", params={"name": "xgbost"})
    assert (missing.status_code, "did you mean 'xgboost'?" in missing.json()["detail"]) == (404, True)


def test_a_damaged_version_hides_no_other(started: Callable[..., Client], registry: Registry) -> None:
    (registry.root / "xgboost/v3/metrics.json").unlink()
    details = started().get("/models", params={"details": True, "name": "xgboost"}).json()["models"][0]["details"]
    assert [each["problem"] is None for each in details] == [True, False, True, True]
    assert "metrics.json is missing" in details[1]["problem"]


def test_the_history_has_who_and_why_the_latest_first(started: Callable[..., Client], registry: Registry) -> None:
    for ref in ("xgboost/v2", "xgboost/v3"):
        registry.set_production(ref, reason=f"to {ref} <b>", now=datetime.now(UTC), by="key:ci")
    registry.rollback("production", reason="worse", now=datetime.now(UTC), by="key:ci")
    client = started()
    page = client.get("/aliases/history", params={"alias": "production", "limit": 2}).json()
    assert [(each["before"], each["ref"], each["reason"], each["undo"]) for each in page["history"]] == [
        ("xgboost/v3", "xgboost/v2", "worse", True),
        ("xgboost/v2", "xgboost/v3", "to xgboost/v3 <b>", False),
    ]
    rest = client.get("/aliases/history", params={"alias": "production", "before": page["next"]}).json()
    assert rest["history"][0]["ref"] == "xgboost/v2"
    assert rest["next"] is None
    assert client.get("/aliases/history", params={"alias": "none"}).json() == {"history": [], "next": None}

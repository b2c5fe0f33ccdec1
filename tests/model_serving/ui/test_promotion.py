"""Promotion and rollback from a page: after a question, with a reason, once, and never unasked to invented rows."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from page_support import send, until_ready, whole
from registry_support import further_version
from serving_support import Client
from sporeprint.registry.registry import Registry

YES = {"confirmed": "yes"}


@pytest.fixture
def registry(small_copy: Path) -> Registry:
    """The tree serves; there is a second version of another model, of invented rows."""
    registry = Registry(small_copy / "models/registry")
    for name in ("xgboost", "decision_tree"):  # whichever was the best of so few rows
        registry.set_production(name, reason="a test", now=datetime.now(UTC))
    further_version(registry, "xgboost/v1", simulated=True)
    return registry


def test_a_version_is_rolled_back_with_a_reason_and_once(started: Callable[..., Client], registry: Registry) -> None:
    client = until_ready(started())
    served, before = registry.production(), registry.aliases().previous("production")
    assert served is not None
    fields = {"ref": served.ref, "alias": "production", "reason": "worse <b>"}
    assert f"Take back {served.ref}, so that {before} stands there again?" in client.get(f"/ui/models/{served.ref}").text
    assert send(client, "/ui/models/rollback", **{**fields, "reason": " "}).status_code == 422
    assert send(client, "/ui/models/rollback", **{**fields, "alias": "none"}).status_code == 422
    assert send(client, "/ui/models/rollback", **{**fields, **YES, "ref": "../x/v1"}).status_code == 400
    question = send(client, "/ui/models/rollback", **fields)  # what a page without scripts sends
    whole(question)
    assert registry.production() == served
    assert 'value="worse &lt;b&gt;"' in question.text
    for _ in range(2):
        assert send(client, "/ui/models/rollback", **fields, **YES).headers["location"] == "/ui/models"
    production = registry.production()
    assert production is not None
    assert production.ref == before
    assert [each.undo for each in registry.history("production")].count(True) == 1
    assert registry.history("production")[-1].reason == "worse <b>"
    unknown = send(client, "/ui/models/promote", **{**fields, **YES, "ref": "decision_tree/v99"})
    assert unknown.status_code == 404
    assert 'value="worse &lt;b&gt;"' in unknown.text  # nothing typed is lost


def test_the_gates_reasons_stand_beside_what_was_typed(started: Callable[..., Client], registry: Registry) -> None:
    client = until_ready(started())
    fields = {"ref": "xgboost/v2", "alias": "production", "reason": "better", "allow_simulated": "true"}
    checked = send(client, "/ui/models/check", **fields, back="xgboost/v1")
    whole(checked)
    assert "The gate would refuse it." in checked.text
    assert "is allowed" in checked.text
    assert 'value="better"' in checked.text
    refused = send(client, "/ui/models/promote", **fields, **YES)
    whole(refused)
    assert (refused.status_code, "does not pass the gate" in refused.text) == (409, True)
    assert 'value="better"' in refused.text
    assert registry.champion("xgboost").ref == "xgboost/v1"


def test_invented_rows_serve_only_after_an_explicit_yes_and_a_promotion_is_made_once(
    started: Callable[..., Client], registry: Registry
) -> None:
    client = until_ready(started(gate={"margin": 0.99}))
    fields = {"ref": "xgboost/v2", "alias": "production", "reason": "a try"}
    assert 'name="allow_simulated"' in client.get("/ui/models/xgboost/v2").text
    assert 'name="allow_simulated"' not in client.get("/ui/models/xgboost/v1").text
    refused = send(client, "/ui/models/promote", **fields, **YES)
    assert (refused.status_code, "SIMULATED" in refused.text) == (409, True)
    moves = len(registry.aliases().history)
    for _ in range(2):
        done = send(client, "/ui/models/promote", **fields, **YES, allow_simulated="true")
        assert done.headers["location"] == "/ui/models", done.text
    assert [each.alias for each in registry.aliases().history[moves:]] == ["xgboost", "production"]


def test_a_version_that_is_deleted_while_its_page_is_open_is_said_to_be_gone(started: Callable[..., Client], registry: Registry) -> None:
    client = until_ready(started())
    shutil.rmtree(registry.root / "xgboost/v2")
    fields = {"ref": "xgboost/v2", "alias": "production", "reason": "better"}
    for path in ("check", "promote"):
        gone = send(client, f"/ui/models/{path}", **fields, **YES)
        assert (gone.status_code, "has no version" in gone.text) == (404, True)
        assert 'value="better"' in gone.text

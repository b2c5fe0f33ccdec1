"""The configuration and the audit trail over HTTP."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving_support import Client
from sporeprint import settings
from sporeprint.model_serving.settings_list import HIDDEN, settings_list
from watch_support import BEGIN_US


def test_every_setting_says_what_it_is_and_who_says_so(config_file: Path) -> None:
    environ = {"SPOREPRINT_SERVING__MAX_BODY_KB": "99"}
    loaded = settings.load_settings(config_file, environ=environ, overrides=["monitoring.every_hours=2", 'ab_testing.alpha="0.01"'])
    known = {each.name: each for each in settings_list(loaded, Path("/work"))}
    assert (known["serving.max_body_kb"].value, known["serving.max_body_kb"].origin) == (99, "environment")
    assert (known["monitoring.every_hours"].value, known["monitoring.every_hours"].origin) == (2, "--set")
    assert known["dataset.name"].origin == "file"
    default = next(each for each in known.values() if each.origin == "default" and each.default is not None)
    assert default.value == default.default
    assert loaded == settings.parse(loaded.model_dump(mode="json"))  # where it comes from is no part of it


def test_secrets_are_dots(raw_config: dict[str, object], tmp_path: Path) -> None:
    raw = {**raw_config, "alerts": {"channels": {"oncall": {"url": "json://host/hush"}, "file": {"url_file": "secret.txt"}}}}
    raw["source"] = {**raw_config["source"], "path": "https://shop:hush@host/x.csv?token=hush"}  # type: ignore[dict-item]
    raw["serving"] = {**raw_config["serving"], "access_log_path": f"{tmp_path}/log"}  # type: ignore[dict-item]
    known = {each.name: each.value for each in settings_list(settings.parse(raw), tmp_path)}
    assert known["alerts.channels.oncall.url"] == HIDDEN
    assert known["alerts.channels.file.url_file"] == "secret.txt"
    assert known["source.path"] == "https://shop:***@host/x.csv?token=***"
    assert known["serving.access_log_path"] == "./log"
    assert "hush" not in repr(known)


def test_who_changed_what(started: Callable[..., Client]) -> None:
    client = started()
    assert len(client.get("/settings").json()["settings"]) > 100
    engine = client.app.state.service.database.engine
    from sporeprint.storage.oltp import audit_log
    from sporeprint.storage.oltp.audit_log import Change

    for number, action in enumerate(("key.created", "key.revoked", "keys.other", "retrained")):
        audit_log.note(engine, Change(BEGIN_US + 1_000_000 * number, f"key:{number % 2}", action, f"s{number}", {"a": "<b>"}))

    def actions(**wanted: str) -> list[str]:
        found = client.get("/audit", params=wanted)
        assert found.status_code == 200, found.text
        return [each["action"] for each in found.json()["changes"]]

    assert actions() == ["retrained", "keys.other", "key.revoked", "key.created"]
    assert actions(action="key") == ["key.revoked", "key.created"]
    assert actions(action="key.created") == ["key.created"]
    assert actions(actor="key:1", subject="s3") == ["retrained"]
    assert actions(since="2026-11-01T00:00:02Z") == ["retrained", "keys.other"]
    first = client.get("/audit?limit=3").json()
    assert [each["action"] for each in client.get("/audit", params={"before": first["next"]}).json()["changes"]] == ["key.created"]
    for wrong in ({"before": "x"}, {"since": "x"}, {"limit": "0"}):
        assert client.get("/audit", params=wrong).status_code == 400, wrong


@pytest.mark.parametrize("path", ["/settings", "/audit", "/keys", "/me"])
def test_nobody_keeps_them(started: Callable[..., Client], path: str) -> None:
    assert started().get(path).headers["cache-control"] == "no-store"

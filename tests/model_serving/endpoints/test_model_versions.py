"""One version with its files, and two side by side."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_support import further_version
from serving_support import Client
from sporeprint.registry.registry import Registry

XGBOOST = "/models/xgboost/versions"


def test_a_version_says_what_it_is_and_verifies_its_files(client: Client, shared_root: Path) -> None:
    version = client.get(f"{XGBOOST}/1").json()
    registry = Registry(shared_root / "models/registry")
    assert version["manifest"] == registry.resolve("xgboost/v1").manifest
    assert version["problems"] == []
    assert version["card"].startswith("# xgboost")
    assert {each["name"]: each["readable"] for each in version["files"]}["xgboost.joblib"] is False
    for each in version["files"]:
        answer = client.get(f"{XGBOOST}/1/files/{each['name']}")
        assert answer.status_code == (200 if each["readable"] else 404)
        if each["readable"]:
            assert hashlib.sha256(answer.content).hexdigest() == each["sha256"]
            assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/models/xgboost/versions/9", "has no version 'v9'; it has: v1"),
        ("/models/xgbost/versions/1", "did you mean 'xgboost'?"),
        ("/models/production/versions/1", "is no name of a model"),
        ("/models/xgboost/versions/1/files/none.json", "has no file 'none.json'"),
        ("/models/xgboost/versions/1/files/xgboost.joblib", "files that end in png, md, json, svg are"),
        ("/models/xgboost/versions/1/files/..%2f..%2faliases.json", "nothing is at"),
        ("/models/compare?a=xgboost&b=none", "no model 'none' is registered"),
        ("/models/compare?a=xgboost&b=../x", "is no registered version"),
    ],
)
def test_what_is_not_there_is_refused_by_name(client: Client, path: str, says: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert says in answer.json()["detail"]


def test_a_file_that_was_altered_is_not_shown(started: Callable[..., Client], small_copy: Path) -> None:
    card = small_copy / "models/registry/xgboost/v1/model_card.md"
    card.chmod(0o644)
    card.write_text("# better than all")
    client = started()
    answer = client.get(f"{XGBOOST}/1/files/model_card.md")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sporeprint:problem:model-damaged")
    version = client.get(f"{XGBOOST}/1").json()
    assert version["card"] is None
    assert version["problems"][0].startswith("model_card.md was altered")


def test_two_versions_side_by_side(started: Callable[..., Client], small_copy: Path) -> None:
    registry = Registry(small_copy / "models/registry")
    further_version(registry, "xgboost/v1", model={"params": {"max_depth": 9}})
    answer = started().get("/models/compare", params={"a": "xgboost/v1", "b": "xgboost/v2"}).json()
    assert (answer["a"]["ref"], answer["b"]["ref"], answer["contract"]) == ("xgboost/v1", "xgboost/v2", [])
    differing = {each["name"] for each in answer["values"] if each["differs"]}
    assert {"params.max_depth", "data fingerprint"} <= differing
    assert "components" not in differing
    assert all(each["better"] is None and each["difference"]["value"] == 0 for each in answer["metrics"])

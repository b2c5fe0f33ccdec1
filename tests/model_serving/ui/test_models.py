"""`/ui/models`: the list, one version, two side by side and the history, as the API says them."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from page_support import MARKUP, until_ready, whole
from registry_support import further_version
from serving_support import Client
from sporeprint import settings
from sporeprint.model_serving.api import create_app
from sporeprint.registry.registry import Registry

PAGES = ("models", "models?metric=brier", "models/xgboost/v1", "models/compare?a=xgboost/v1&b=xgboost/v2&all=1", "models/history")
#: What somebody may have written where a reason or a name is kept: markup, a change of direction, ten kilobytes.
TEXTS = (*MARKUP, "x" * 10_000)


@pytest.fixture(scope="module")
def registry(_small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """25 versions of a model, and moves with every text as their reason."""
    root = tmp_path_factory.mktemp("models") / "work"
    shutil.copytree(_small_run / "models", root / "models")
    registry = Registry(root / "models/registry")
    for number in range(1, 25):
        further_version(registry, "xgboost/v1", number, model={"params": {"max_depth": number}, "note": MARKUP[number % len(MARKUP)]})
    for number, text in enumerate(TEXTS, 2):
        registry.set_production(f"xgboost/v{number}", reason=text, by=text, now=datetime.now(UTC))
    registry.set_production("xgboost/v1", reason="the last", by="key:ci", now=datetime.now(UTC))
    return registry


@pytest.fixture(scope="module")
def client(registry: Registry, _small: dict[str, Any]) -> Iterator[Client]:
    with Client(create_app(settings.parse(_small), registry.root.parents[1], worker="w")) as client:
        yield until_ready(client)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_in_both_languages(client: Client, path: str) -> None:
    for language in ("en", "de"):
        response = client.get(f"/ui/{path}", headers={"accept-language": language})
        assert response.status_code == 200
        whole(response)
        assert "<script>alert" not in response.text
        assert "<img src=x" not in response.text


def test_the_list_is_paged_and_links_what_it_names(client: Client) -> None:
    page = client.get("/ui/models").text
    assert "<h1>xgboost/v1 is in production</h1>" in page
    assert re.findall(r'href="/ui/models/xgboost/v(\d+)"', page) == [str(number) for number in range(25, 5, -1)]
    older = re.search(r'href="/ui/(models\?name=xgboost&amp;before=6[^"]*)"', page)
    assert older is not None
    rest = client.get(f"/ui/{older[1].replace('&amp;', '&')}").text
    assert re.findall(r'href="/ui/models/xgboost/v(\d+)"', rest) == ["5", "4", "3", "2", "1"]
    assert client.get("/ui/models?before=x").status_code == 400
    assert client.get("/ui/models?name=<b>").status_code == 404


def test_the_metric_that_is_chosen_is_the_one_that_is_drawn(client: Client) -> None:
    details = client.get("/models?details=true").json()["models"][0]["details"][0]
    value = details["parts"][0]["metrics"]["brier"]["value"]
    page = client.get("/ui/models?metric=brier").text
    assert f"{value:.4f}" in page
    assert "smaller is better" in page
    assert client.get("/ui/models?metric=none").status_code == 200


def test_a_version_says_since_when_and_why(client: Client) -> None:
    page = client.get("/ui/models/xgboost/v1").text
    known = client.get("/models/xgboost/versions/1").json()
    assert "the last" in page
    assert known["identity"] in page
    for part in known["parts"]:
        assert f"{part['verdicts']['false_negatives']} false negatives of {part['verdicts']['positives']:,} rows" in page
    name = next(each["name"] for each in known["files"] if each["name"].endswith((".png", ".svg")))
    assert f'<img src="/ui/models/xgboost/v1/files/{name}"' in page
    picture = client.get(f"/ui/models/xgboost/v1/files/{name}")
    assert (picture.status_code, picture.headers["content-type"].partition("/")[0]) == (200, "image")
    assert picture.headers["cache-control"] == "no-store"
    assert client.get("/ui/models/xgboost/v1/files/xgboost.joblib").status_code == 404


def test_a_comparison_shows_what_differs_unless_everything_is_wanted(client: Client) -> None:
    few = client.get("/ui/models/compare?a=xgboost/v2&b=xgboost/v3").text
    every = client.get("/ui/models/compare?a=xgboost/v2&b=xgboost/v3&all=1").text
    assert "xgboost/v3 is not shown to be better or worse than xgboost/v2" in few
    assert "params.max_depth" in few
    assert ("log_loss" in few, "log_loss" in every) == (False, True)
    assert client.get("/ui/models/compare").headers["location"] == "/ui/models"


@pytest.mark.parametrize(
    "path",
    ["models/xgboost/v99", "models/none/v1", "models/xgboost/v0", "models/xgboost/v1e3", "models/compare?a=<b>&b=x", "models/<b>/v1"],
)
def test_what_is_not_there_is_a_page_that_says_so(client: Client, path: str) -> None:
    response = client.get(f"/ui/{path}")
    assert response.status_code == 404
    whole(response)
    assert "<b>&" not in response.text


def test_the_history_cuts_what_is_long(client: Client) -> None:
    page = client.get("/ui/models/history?alias=production").text
    assert "x" * 201 not in page
    assert "<bdi>\u202e evil</bdi>" in page
    assert "<td>decision_tree</td>" not in page

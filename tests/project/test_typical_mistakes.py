"""Sixty mistakes that people make first. Each message names the value, says what is allowed, and what to do.

Twenty on the command line, twenty over HTTP, twenty in the configuration. Where what is allowed is a list to choose from, the list is also
what to do; the cases name it once.
"""

import copy
import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from serving_support import Client, write_config
from sporeprint import settings
from sporeprint.cli import app as cli
from sporeprint.model_serving.api import create_app


@dataclass(frozen=True)
class Mistake:
    """What somebody does wrong, and what the message has to say.

    Attributes:
        done: what is typed, sent or written.
        code: the exit code, or the status.
        value: how the message names the value.
        says: what is allowed, and what to do.
        more: of a request, its headers; of a configuration, the text of the whole file.
    """

    done: Any
    code: int
    value: str
    says: tuple[str, ...]
    more: Any = field(default=None)


def check(mistake: Mistake, code: int, message: str) -> None:
    assert code == mistake.code, message
    for part in (mistake.value, *mistake.says):
        assert part in message, f"{part!r} is not in:\n{message}"
    for noise in ("Traceback", "unexpected error", "NoneType", "Input should", "input should", "object at 0x"):
        assert noise not in message


def name(mistake: Mistake) -> str:
    return str(mistake.done)[:60]


TWO = "--model-a xgboost --model-b decision_tree"
COMMAND_LINE = [
    Mistake("modles list", 2, "'modles'", ("Did you mean 'models'?", "--help lists")),
    Mistake("etl --sorce x.csv", 2, "--sorce", ("--source", "sporeprint etl --help lists the options")),
    Mistake("etl --source no.csv", 4, "no.csv", ("name a table with --source FILE or --source URL",)),
    Mistake("etl --target class", 2, "--target", ("belongs to --source", "as sporeprint init does")),
    Mistake("etl --set split.seed", 3, "'split.seed'", ("expected key=value", "as in models.xgboost.params.max_depth=8")),
    Mistake("etl --config no.yaml", 3, "no.yaml", ("no configuration file", "name one with --config")),
    Mistake("train --model xgbost", 3, "'xgbost'", ("did you mean 'xgboost'?", "there are: logistic_regression, decision_tree, xgboost")),
    Mistake("predict no.csv --out a.csv", 4, "no.csv", ("no such file", "name a CSV or Parquet file that is there")),
    Mistake("predict rows.csv", 2, "'--out'", ("CSV or Parquet by its suffix", "sporeprint predict --help lists the options")),
    Mistake("predict rows.csv --out a.xlsx", 2, "a.xlsx", ("expected a file name that ends in .csv or .parquet",)),
    Mistake("predict rows.csv --out a.csv --model xgboost/v9", 5, "'v9'", ("model 'xgboost' has no version", "it has: v1")),
    Mistake("explain cap-shap=convex", 4, "'cap-shap'", ("did you mean 'cap-shape'?", "known: cap-diameter, cap-shape")),
    Mistake("explain stem-height=tall", 4, "'tall'", ("field 'stem-height'", "expected a number of cm")),
    Mistake("explain cap-shape", 2, "'cap-shape'", ("expected FIELD=VALUE", "as in cap-shape=bell")),
    Mistake("serve --port 99999", 2, "'99999'", ("expected at most 65535", "sporeprint serve --help lists the options")),
    Mistake(
        "serve --host 0.0.0.0", 2, "--host 0.0.0.0", ("make one first: sporeprint keys create", "expected one of 127.0.0.1, ::1, localhost")
    ),
    Mistake("monitor --last yesterday", 2, "'yesterday'", ("expected a number with s, m, h, d or w", "90m, 24h, 30d, 4w")),
    Mistake(f"ab-test create --name a {TWO} --split 50", 2, "50.0", ("traffic_split", "has to be above 0 and below 1")),
    Mistake(
        "keys create --name shop --role admim", 2, "'admim'", ("did you mean 'admin'?", "choose from predict, label, operate, read, admin")
    ),
    Mistake("warehouse query 'SELECT * FROM nothing'", 2, "nothing", ("does not exist", "SHOW TABLES lists what there is")),
]


@pytest.fixture(scope="module")
def place(_small_run: Path, _small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, a table, and a work directory that no mistake changes."""
    folder = tmp_path_factory.mktemp("mistakes")
    write_config(_small, folder / "config.yaml")
    shutil.copy(small_table, folder / "rows.csv")
    shutil.copytree(_small_run, folder / "work", ignore=shutil.ignore_patterns("sporeprint.db*"))
    shutil.copy(_small_run.parent / "sporeprint.db", folder / "work/data")
    return folder


@pytest.mark.parametrize("mistake", COMMAND_LINE, ids=name)
def test_on_the_command_line(mistake: Mistake, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SPOREPRINT_CONFIG", str(place / "config.yaml"))
    monkeypatch.setenv("SPOREPRINT_WORKDIR", str(place / "work"))
    code = cli.run(shlex.split(mistake.done))
    said = capsys.readouterr()
    check(mistake, code, said.err)
    assert said.out == ""


ROW = {"cap-shape": "convex"}
ARMS = {"name": "a", "model_a": "xgboost", "model_b": "decision_tree"}
PARQUET, CSV = ({"content-type": f"{kind}"} for kind in ("application/vnd.apache.parquet", "text/csv"))
OUTCOME = "POST /predictions/0198c0de-0000-7000-8000-000000000000/outcome"
HTTP = [
    Mistake("GET /predict", 405, "'/predict'", ("GET is not answered", "send one of POST")),
    Mistake("POST /predcit", 404, "'/predcit'", ("nothing is at", "GET /docs lists what there is"), ROW),
    Mistake("POST /predict", 400, "line 1 column 2", ("not valid JSON",), "{"),
    Mistake("POST /predict", 415, "'text/plain'", ("send Content-Type: application/json",), ({"content-type": "text/plain"}, "a=1")),
    Mistake("POST /predict", 400, "got a list", ('as in {"cap-diameter":', "POST /predict/batch takes"), [ROW]),
    Mistake("POST /predict", 422, "'cap-shap'", ("did you mean 'cap-shape'?", "known: cap-diameter"), {"cap-shap": "convex"}),
    Mistake("POST /predict", 422, "'tall'", ("field 'stem-height'", "expected a number of cm"), {"stem-height": "tall"}),
    Mistake("POST /predict", 422, "-3", ("field 'stem-height'", "allowed is 0.0 to 100.0 cm"), {"stem-height": -3}),
    Mistake("POST /predict", 422, "got a list", ("field 'cap-shape'", "expected one value, a text or a number"), {"cap-shape": ["x"]}),
    Mistake("POST /predict?model=xgbost", 404, "'xgbost'", ("did you mean 'xgboost'?", "there are: production, decision_tree"), ROW),
    Mistake("POST /predict?exlpain=true", 400, "'exlpain'", ("did you mean 'explain'?", "known: model, explain, ab_test"), ROW),
    Mistake(
        "POST /predict", 400, "got 300", ("Idempotency-Key", "1 to 255 visible ASCII characters"), ({"idempotency-key": "x" * 300}, ROW)
    ),
    Mistake("POST /predict/batch", 400, "got an object with the fields cap-shape", ("expected a JSON list of rows",), ROW),
    Mistake(
        "POST /predict/batch",
        422,
        "'a'",
        ("the columns are not those of the dataset 'mushroom'", "missing: 'cap-diameter'"),
        (CSV, "a,b\n1,2\n"),
    ),
    Mistake("POST /predict/batch", 422, "parquet", ("the upload is csv", "send the type of the file"), (PARQUET, "cap-shape\nx\n")),
    Mistake(OUTCOME, 422, "'edibel'", ("field 'outcome'", "expected one of e (edible), p (poisonous)"), {"outcome": "edibel"}),
    Mistake(
        "GET /predictions?verdict=poison", 400, "'poison'", ("expected one of edible, poisonous, unknown", "did you mean 'poisonous'?")
    ),
    Mistake("GET /predictions/nope", 404, "'nope'", ("there is no prediction", "GET /predictions lists them")),
    Mistake("POST /ab-tests", 422, "'canary'", ("field 'mode'", "expected one of split, shadow"), {**ARMS, "mode": "canary"}),
    Mistake("GET /ab-tests/nope", 404, "'nope'", ("there is no A/B test", "make one first")),
]


@pytest.fixture(scope="module")
def client(place: Path, _small: dict[str, Any]) -> Iterator[Client]:
    with Client(create_app(settings.parse(_small), place / "work")) as found:
        yield found


@pytest.mark.parametrize("mistake", HTTP, ids=name)
def test_over_http(mistake: Mistake, client: Client) -> None:
    method, path = mistake.done.split()
    headers, body = mistake.more if isinstance(mistake.more, tuple) else ({}, mistake.more)
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    found = client.request(method, path, headers={"content-type": "application/json", **headers}, content=content)
    assert found.headers["content-type"] == "application/problem+json"
    check(mistake, found.status_code, found.json()["detail"])


CONFIGURATION = [
    Mistake("modles: {}", 3, "modles", ("did you mean 'models'?", "allowed here: ab_testing, alerts")),
    Mistake("split.sed: 3", 3, "split.sed", ("did you mean 'seed'?", "allowed here: by, calibration")),
    Mistake("split.seed: eleven", 3, "'eleven'", ("split.seed: expected a whole number",)),
    Mistake("split.test: 0.99", 3, "1.84", ("split: the shares of train, early_stop", "must add up to 1")),
    Mistake(
        "dataset.columns.cap-shape.kind: nominall", 3, "'nominall'", ("dataset.columns.cap-shape.kind", "expected one of numeric, nominal")
    ),
    Mistake("dataset.target.positive: x", 3, "'x'", ("dataset.target: positive", "is not one of the values ['e', 'p']")),
    Mistake("dataset.columns.stem-height.min: 900", 3, "900", ("dataset.columns.stem-height", "is above max 100")),
    Mistake("dataset.columns.cap-shape.values: [b]", 3, "['b']", ("dataset.columns.cap-shape.values", "expected keys with values")),
    Mistake("dataset.columns.class: {kind: numeric}", 3, "'class'", ("declared twice among features, target, group",)),
    Mistake("dataset.groups: {name: species}", 3, "dataset.groups", ("give exactly one of 'block_rows' and 'column'",)),
    Mistake("models: {}", 3, "models", ("expected at least 1 entry, not 0",)),
    Mistake(
        "models.forest: {kind: forest}", 3, "models.forest.kind", ("models.forest.estimator: missing; add it", "allowed here: early_stop")
    ),
    Mistake("guard.coverage: 1.5", 3, "1.5", ("guard.coverage: expected below 1",)),
    Mistake("engine.kind: ray", 3, "'ray'", ("engine.kind: expected one of local, spark, dask",)),
    Mistake("ab_testing.mode: canary", 3, "'canary'", ("ab_testing.mode: expected one of split, shadow",)),
    Mistake(
        "storage.oltp: 'postgres://h/db'", 3, "'postgres'", ("storage.oltp", "expected sqlite:///path/to/file.db or mysql+pymysql://user@")
    ),
    Mistake(
        "storage.oltp: 'mysql+pymysql://a:b@h/db'", 3, "storage.oltp", ("a password stands in the address", "set SPOREPRINT_OLTP_PASSWORD")
    ),
    Mistake("alerts.channels.oncall: {kind: pager}", 3, "alerts.channels.oncall.kind", ("unknown key", "allowed here: severity, url")),
    Mistake("an empty file", 3, "nothing", ("expected a mapping of settings", "sporeprint init writes one"), ""),
    Mistake("a tab", 3, "line 2, column 1", ("is not valid YAML", "cannot start any token"), "split:\n\tseed: 3\n"),
]


def written(raw: dict[str, Any], change: str) -> dict[str, Any]:
    """A configuration with one setting as it is written: `split.seed: 3`."""
    key, _, value = change.partition(": ")
    changed, (*way, last) = copy.deepcopy(raw), key.split(".")
    node = changed
    for part in way:
        node = node.setdefault(part, {})
    node[last] = YAML(typ="safe", pure=True).load(value)
    return changed


@pytest.mark.parametrize("mistake", CONFIGURATION, ids=name)
def test_in_the_configuration(mistake: Mistake, raw_config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    if mistake.more is None:
        write_config(written(raw_config, mistake.done), path)
    else:
        path.write_text(mistake.more, encoding="utf-8")
    code = cli.run(["config", "check", "--config", str(path)])
    said = capsys.readouterr()
    check(mistake, code, said.err)
    assert said.out == ""


def test_there_are_sixty() -> None:
    assert [len(cases) for cases in (COMMAND_LINE, HTTP, CONFIGURATION)] == [20, 20, 20]
    assert all(mistake.value and mistake.says for mistake in (*COMMAND_LINE, *HTTP, *CONFIGURATION))

"""`sporeprint models` on a small real registry. Promotion goes through the pipeline's gate: see test_cli.py."""

import functools
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sporeprint.cli import app as cli
from sporeprint.inference.model_bundle import Bundle, GoldenRows
from sporeprint.models.encoder import Encoder, NumericEncoding
from sporeprint.models.scorers import LinearScorer
from sporeprint.registry.registry import Registry
from sporeprint.schema import Column, DatasetSchema, Kind, Target
from support import some_safety

SCHEMA = DatasetSchema(
    name="caps",
    target=Target(column="class", positive="p", values={"e": "edible", "p": "poisonous"}),
    columns={"width": Column(kind=Kind.NUMERIC)},
)
ENCODER = Encoder((NumericEncoding("width", center=5.0, scale=2.0, fill=5.0, indicator=False, low=0.0, high=9.0),))
WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)

Called = Callable[..., tuple[int, str, str]]


@functools.cache
def parts() -> dict[str, bytes]:
    """What every version has; made where a test asks for it, not where tests are collected."""
    return some_safety(SCHEMA).to_files()


def bundle(name: str, slope: float, accuracy: float, **info: bool) -> Bundle:
    interval = {"value": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.005}
    return Bundle(
        name=name,
        encoder=ENCODER,
        scorer=LinearScorer(np.array([slope]), 0.0),
        schema=SCHEMA,
        golden=GoldenRows((), ()),
        parts=parts(),
        info={
            "created": "2026-02-28T10:00:00+00:00",
            "data_fingerprint": "d1",
            "model": {"params": {"depth": 6}},
            "notes": ["[red]slow"],
            **info,
        },
        metrics={"fit_seconds": 0.2, "seen": {"accuracy": interval, "n": 100}, "unseen": {"available": False, "reason": "no groups"}},
    )


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """`sporeprint models ...` in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(["models", *arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two versions of one model, one of another; the first model's second version is its champion and served."""
    found = Registry(tmp_path / "models" / "registry")
    for name, slope, accuracy in (("logistic", 1.0, 0.9), ("logistic", 2.0, 0.95), ("tree", 3.0, 0.99)):
        found.register(bundle(name, slope, accuracy), now=WHEN)
    found.promote("logistic", 2, reason="better", now=WHEN, by="ana")
    found.set_production("tree/v1", reason="best accuracy", now=WHEN, by="ana")
    found.set_production("logistic/v2", reason="[b]faster", now=WHEN, by="ana")
    return found


def spoil(path: Path) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


# --- looking -------------------------------------------------------------------------------------------------------------


def test_list_shows_every_version_and_what_it_stands_for(called: Called, registry: Registry) -> None:
    code, out, err = called("list")
    assert (code, err) == (0, "")
    assert out == (
        "Registered models\n"
        "version      stands for            accuracy, seen  created\n"
        "logistic/v1                                0.9000  2026-02-28T10:00:00+00:00\n"
        "logistic/v2  production, champion          0.9500  2026-02-28T10:00:00+00:00\n"
        "tree/v1      champion                      0.9900  2026-02-28T10:00:00+00:00\n"
    )


def test_list_for_programs(called: Called, registry: Registry) -> None:
    found = json.loads(called("list", "--json")[1])
    assert found["production"] == "logistic/v2"
    assert [(model["name"], model["champion"]) for model in found["models"]] == [("logistic", "logistic/v2"), ("tree", "tree/v1")]
    second = found["models"][0]["versions"][1]
    assert (second["ref"], second["stands_for"], second["problem"]) == ("logistic/v2", ["production", "champion"], None)
    assert second["metrics"]["seen"]["accuracy"]["value"] == 0.95


def test_list_of_nothing_is_no_error(called: Called, tmp_path: Path) -> None:
    code, out, err = called("list")
    assert (code, err) == (0, "")
    assert out == f"no model is registered in {tmp_path}/models/registry; sporeprint etl makes some\n"
    assert json.loads(called("list", "--json")[1]) == {"production": None, "models": []}
    assert list(tmp_path.iterdir()) == []


def test_one_damaged_version_does_not_hide_the_others(called: Called, registry: Registry) -> None:
    spoil(registry.root / "logistic" / "v1" / "metrics.json")
    code, out, _ = called("list")
    assert code == 0
    damaged = next(line for line in out.splitlines() if line.startswith("logistic/v1"))
    assert "DAMAGED: logistic/v1: metrics.json was altered" in damaged
    assert "0.9500" in out


def test_a_model_of_simulated_data_is_marked(called: Called, registry: Registry) -> None:
    registry.register(bundle("tree", 4.0, 0.99, simulated=True), now=WHEN)
    marked = [line for line in called("list")[1].splitlines() if "of SIMULATED data" in line]
    assert [line.split()[0] for line in marked] == ["tree/v2"]


def test_show_tells_all_of_a_version(called: Called, registry: Registry) -> None:
    code, out, _ = called("show", "production")
    assert code == 0
    facts, metrics = out.split("\n\n")
    lines = [line.split(maxsplit=1) for line in facts.splitlines()]
    assert ["version", "logistic/v2"] in lines
    assert ["model", "params.depth 6"] in lines
    assert ["notes", "[red]slow"] in lines
    assert metrics == "Metrics\n          seen rows\naccuracy  0.9500 (0.9400 to 0.9550)\n"
    assert "sporeprint models verify checks them" in facts
    assert json.loads(called("show", "tree", "--json")[1])["ref"] == "tree/v1"


@pytest.mark.parametrize("ref", ["treee", "tree/v7", "models/registry/tree/v1/other.json", "../elsewhere.joblib", ""])
def test_what_is_not_registered_cannot_be_shown(ref: str, called: Called, registry: Registry) -> None:
    code, out, err = called("show", ref)
    assert (code, out) == (5, "")
    assert err.startswith("error: ")


# --- verifying -----------------------------------------------------------------------------------------------------------


def test_verify_says_what_is_as_it_was(called: Called, registry: Registry) -> None:
    assert called("verify") == (0, "as registered: logistic/v1, logistic/v2, tree/v1\n", "")
    assert called("verify", "tree") == (0, "as registered: tree\n", "")


def test_verify_names_the_altered_file_and_ends_with_5(called: Called, registry: Registry) -> None:
    spoil(registry.root / "tree" / "v1" / "linear.json")
    code, out, err = called("verify")
    assert (code, err) == (5, "")
    assert "tree/v1: linear.json was altered" in out
    found = json.loads(called("verify", "tree/v1", "--json")[1])
    assert found["ok"] is False
    assert found["checked"] == ["tree/v1"]
    assert len(found["problems"]) == 1
    assert called("verify", "logistic/v1")[0] == 0


def test_verify_of_nothing_is_an_error(called: Called, tmp_path: Path) -> None:
    code, out, err = called("verify")
    assert (code, out) == (5, "")
    assert err.startswith(f"error: no model is registered in {tmp_path}/models/registry; ")


# --- moving --------------------------------------------------------------------------------------------------------------


def test_history_tells_every_move_and_why(called: Called, registry: Registry) -> None:
    code, out, _ = called("history", "production")
    assert code == 0
    assert out == (
        "History\n"
        "when                       what        from     to           by   why\n"
        "2026-03-01T12:00:00+00:00  production           tree/v1      ana  best accuracy\n"
        "2026-03-01T12:00:00+00:00  production  tree/v1  logistic/v2  ana  [b]faster\n"
    )
    assert {move["alias"] for move in json.loads(called("history", "--json")[1])["history"]} == {"logistic", "tree", "production"}
    assert called("history", "treee")[0] == 5


def test_rollback_takes_back_the_last_move(called: Called, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    code, out, _ = called("rollback", "--reason", "complaints", "--json")
    assert code == 0
    assert json.loads(out) == {"alias": "production", "from": "logistic/v2", "to": "tree/v1"}
    last = registry.history("production")[-1]
    assert (last.to, last.by, last.reason, last.undo) == ("tree/v1", "bob", "complaints", True)
    assert called("rollback", "logistic") == (0, "moved  logistic\nfrom   logistic/v2\nto     logistic/v1\n", "")


def test_rollback_to_before_the_beginning_is_refused(called: Called, registry: Registry) -> None:
    code, out, err = called("rollback", "tree")
    assert (code, out) == (5, "")
    assert err.startswith("error: 'tree' has no earlier version to go back to")


def test_rollback_of_nothing_makes_no_folder(called: Called, tmp_path: Path) -> None:
    assert called("rollback")[0] == 5
    assert list(tmp_path.iterdir()) == []


def test_a_registry_elsewhere_is_named_by_the_work_directory(called: Called, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "models", tmp_path / "elsewhere" / "models")
    assert json.loads(called("list", "--json")[1])["models"] == []
    assert json.loads(called("list", "--json", "--workdir", "elsewhere")[1])["production"] == "logistic/v2"

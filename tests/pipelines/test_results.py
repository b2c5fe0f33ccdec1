"""What the steps give back: values that are JSON, and tables in which nothing is missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.common.text_table import Table
from sporeprint.pipelines.etl import run_etl, run_new_version
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.results import DataResult, EtlResult
from sporeprint.pipelines.train import run_train


@pytest.fixture(scope="module")
def result(_small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> EtlResult:
    chosen = settings.parse({**_small, "models": {name: _small["models"][name] for name in ("logistic_regression", "decision_tree")}})
    return run_etl(chosen, tmp_path_factory.mktemp("results"), source=str(small_table))


def pairs(rows: tuple[tuple[str, ...], ...]) -> dict[str, str]:
    """The rows of a table of two columns."""
    return {row[0]: row[1] for row in rows}


def by_title(tables: list[Table]) -> dict[str, Table]:
    return {table.title: table for table in tables}


def test_the_values_are_json_without_nan(result: EtlResult) -> None:
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found.keys() == {"run_id", "simulated", "data", "metrics", "registered", "production", "reason", "steps", "notes", "report"}
    assert found["data"]["rows"] == 1800
    assert found["data"]["published"] is True
    assert found["production"] in {item["ref"] for item in found["registered"]}
    assert found["metrics"]["models"].keys() == {"logistic_regression", "decision_tree"}
    assert [step["step"] for step in found["steps"]][:3] == ["extract", "transform", "load"]


EVALUATED = "Classifier output, every row called one class or the other"
ANSWERED = "Verdicts, with unknown among them"


def test_the_tables_say_the_same(result: EtlResult) -> None:
    tables = by_title(result.tables())
    expected = {"Published", "Steps", EVALUATED, ANSWERED, "Registered", "Production", "Report"}
    assert set(tables) - {"Please note", "What the promises do not say"} == expected
    facts = pairs(tables["Published"].rows)
    assert facts["rows"] == facts["good"] == "1,800"
    assert facts["duplicates"] == "0 (kept, and shared out like other rows)"
    card = result.evaluated.context.evaluations["decision_tree"].seen
    row = next(row for row in tables[EVALUATED].rows if row[:2] == ("decision_tree", "seen"))
    assert row[2:4] == (f"{card.confusion.fn:,} of {card.positives:,}", f"{card.metrics['accuracy'].value:.4f}")
    assert tables[EVALUATED].columns[2] == tables[ANSWERED].columns[2] == "poisonous called edible"
    counts = result.evaluated.context.evaluations["decision_tree"].safety.seen
    row = next(row for row in tables[ANSWERED].rows if row[:2] == ("decision_tree", "seen"))
    missed = f"{counts.false_negative:,} of {counts.positives:,}"
    assert row[2:] == (missed, f"{counts.answered:,} of {counts.rows:,}", f"{counts.correct:,}")
    assert [row[1] for row in tables["Registered"].rows] == ["logistic_regression/v1", "decision_tree/v1"]
    assert tables["Production"].rows[0][0] == result.registered.production


def test_invented_data_is_shown_as_such(result: EtlResult) -> None:
    invented = replace(result, data=DataResult(replace(result.data.record, simulated=True), published=True))
    assert invented.tables()[-1].title.startswith("SIMULATED DATA")
    assert invented.to_dict()["simulated"] is True
    assert not any("SIMULATED" in table.title for table in result.tables())


def test_rejected_rows_are_shown_by_rule(result: EtlResult) -> None:
    record = replace(result.data.record, rejected=3, by_rule={"number:stem-width": 2, "malformed": 1})
    tables = by_title(DataResult(record, published=False).tables())
    assert list(tables) == ["Staged", "Rejected, by rule"]
    assert tables["Rejected, by rule"].rows == (("number:stem-width", "2"), ("malformed", "1"))
    assert pairs(tables["Staged"].rows)["rejected"] == "3"


def test_dropped_copies_are_not_counted_as_good(result: EtlResult) -> None:
    record = replace(result.data.record, duplicates=5, dropped=5)
    facts = pairs(DataResult(record, published=True).tables()[0].rows)
    assert (facts["good"], facts["duplicates"]) == ("1,795", "5 (dropped)")


def test_extract_and_train_say_what_they_did(small_config: dict[str, Any], small_table: Path, small_copy: Path) -> None:
    chosen = settings.parse(small_config)
    extracted = run_extract(chosen, small_copy, source=str(small_table))
    values, facts = json.loads(json.dumps(extracted.to_dict())), pairs(extracted.tables()[0].rows)
    assert (values["rows"], values["format"], values["simulated"]) == (1800, "csv", False)
    assert (facts["rows"], facts["sha256"], facts["simulated"]) == ("1,800", values["sha256"][:12], "no")
    trained = run_train(chosen, small_copy, models=["decision_tree"])
    values = json.loads(json.dumps(trained.to_dict()))["models"]["decision_tree"]
    assert (values["servable"], values["not_servable"], values["rounds"]) == (True, None, None)
    assert trained.tables()[0].rows[0][0] == "decision_tree"


def test_a_further_version_shows_its_numbers(small_config: dict[str, Any], small_copy: Path) -> None:
    small_config["models"]["decision_tree"]["params"]["min_samples_leaf"] = 9
    found = run_new_version(settings.parse(small_config), small_copy, "decision_tree")
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (values["ref"], values["created"]) == ("decision_tree/v2", True)
    table, following = found.tables()
    assert table.title == "decision_tree/v2 (new, not promoted)"
    assert ("put it into production", "sporeprint models promote decision_tree/v2 --production") in following.rows
    shown = {row[0]: row[1] for row in table.rows}
    assert shown["accuracy"] == f"{values['seen']['accuracy']['value']:.4f}"

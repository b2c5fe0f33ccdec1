"""What is said of a table and of its models before anybody relies on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sporeprint import settings
from sporeprint.data.data_summary import DataSummary
from sporeprint.errors import DataError
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.pipelines.data_notes import performance_notes
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.transform import run_transform
from table_cases import CONFIG, csv, loans


def summary(tmp_path: Path, table: dict[str, list[Any]], **changes: Any) -> DataSummary:
    (tmp_path / "loans.csv").write_bytes(csv(table).encode(changes.pop("encoding", "utf-8")))
    columns = {name: {"kind": "nominal"} for name in table if name not in ("late", "income", "debt", "age")}
    raw = {**CONFIG, "dataset": {**CONFIG["dataset"], "columns": {"income": {"kind": "numeric"}, **columns}}, **changes}
    chosen = settings.parse(raw)
    run_extract(chosen, tmp_path)
    return run_transform(chosen, tmp_path).record


def test_nothing_is_said_of_a_plain_table(tmp_path: Path) -> None:
    assert summary(tmp_path, loans()).notes == ()


def test_identifiers_and_text_are_named(tmp_path: Path) -> None:
    (note,) = summary(tmp_path, {**loans(), "remark": [f"remark {row}" for row in range(600)]}).notes
    assert note.startswith("Column 'remark' has 600 different values in 600 rows: an identifier, or text?")
    assert "dataset.extra_columns: ignore" in note


def test_rows_that_repeat_are_counted(tmp_path: Path) -> None:
    table = {name: values[:60] * 10 for name, values in loans().items() if name in ("income", "city", "late")}
    record = summary(tmp_path, table)
    assert (record.repeats, record.duplicates) == (540, 540)
    assert record.notes[0].startswith("540 of 600 rows have the features of another row (540 are exact copies).")
    table["late"] = np.random.default_rng(0).integers(0, 2, 600).tolist()
    record = summary(tmp_path, table)
    assert record.repeats == 540 > record.duplicates > 400


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    table = {**loans(), "late": [None if row % 20 == 0 else label for row, label in enumerate(loans()["late"])]}
    record = summary(tmp_path, table, validation={"unlabelled": "drop"})
    assert (record.rows, record.rejected, record.notes) == (570, 0, ("30 rows have no label and were left out.",))


def test_a_guessed_encoding_is_named(tmp_path: Path) -> None:
    table = {**loans(), "city": ["Zürich" if city == "Aarau" else city for city in loans()["city"]]}
    (note,) = summary(tmp_path, table, encoding="latin-1").notes
    assert note == "The text is not UTF-8 and was read as latin-1. If letters look wrong, set source.csv.encoding."


@pytest.fixture(scope="module")
def by_chance(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run over a table in which nothing tells of the label, and groups of rows have labels of their own."""
    root, draw = tmp_path_factory.mktemp("chance"), np.random.default_rng(0)
    table = {**loans(), "late": draw.integers(0, 2, 600).tolist(), "patient": [row % 30 for row in range(600)]}
    (root / "loans.csv").write_text(csv(table), encoding="utf-8")
    dataset = {**CONFIG["dataset"], "groups": {"name": "patient", "column": "patient"}}
    models = {"tree": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 2}}}
    raw = {**CONFIG, "dataset": dataset, "models": models, "evaluation": {"replicates": 100}, "guard": {"clusters": 5}}
    return run_etl(settings.parse({**raw, "runtime": {"threads": 1}}), root)


def test_a_model_at_chance_is_not_put_into_production_without_a_word(by_chance: Any) -> None:
    notes = by_chance.registered.notes
    assert any(note.startswith("tree (in production) is no better than chance on test rows: ROC AUC 0.") for note in notes)
    assert any("on rows of a patient it has never seen" in note and "With split.by: groups" in note for note in notes)
    assert by_chance.to_dict()["notes"] == list(notes)
    assert any(table.title == "Please note" for table in by_chance.tables())


def test_of_a_good_model_nothing_is_said(by_chance: Any) -> None:
    context: ReportContext = by_chance.evaluated.context
    evaluation = context.evaluations["tree"]
    auc = evaluation.seen.metrics["roc_auc"]
    good = replace(evaluation.seen, metrics={**evaluation.seen.metrics, "roc_auc": replace(auc, value=0.9, low=0.8, high=0.95)})
    better = replace(context, evaluations={"tree": replace(evaluation, seen=good, unseen=Unavailable("no groups"))})
    assert performance_notes(better, "tree/v1") == ()


def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "loans.csv").write_text(csv(loans()))
    chosen = settings.parse(CONFIG)
    run_extract(chosen, tmp_path)
    with path.open("a") as file:
        file.write(csv(loans(5, seed=9), header=False))
    with pytest.raises(DataError, match=r"loans\.csv has changed since it was extracted"):
        run_transform(chosen, tmp_path)

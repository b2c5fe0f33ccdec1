"""Drafted configurations: what is proposed for tables of many forms, and what is asked for."""

import gzip
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sporeprint import settings
from sporeprint.errors import DataError, UsageError
from sporeprint.pipelines.draft import Draft, draft_alpha, draft_configuration, write_draft
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.transform import run_transform
from sporeprint.schema import ANSWER_COLUMNS
from table_cases import csv, loans


def drafted(tmp_path: Path, text: str | bytes, name: str = "loans.csv", **options: Any) -> Draft:
    (path := tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    found = draft_configuration(str(path), tmp_path, **options)
    settings.parse(YAML(typ="safe", pure=True).load(found.text))
    return found


def changed(**columns: Any) -> dict[str, list[Any]]:
    """The table of loans with changed columns: functions from a value and its row."""
    table = loans()
    return {
        **table,
        **{name: [change(value, row) for row, value in enumerate(table.get(name, table["late"]))] for name, change in columns.items()},
    }


FORMS: dict[str, str | bytes] = {
    "plain": csv(loans()),
    "semicolon, decimal comma": csv(changed(income=lambda v, _: str(v).replace(".", ",")), separator=";"),
    "thousands and currency": csv(changed(income=lambda v, _: f"{v:,.2f}", debt=lambda v, _: f"€{v}")),
    "percent and unit": csv(changed(income=lambda v, _: f"{v}%", age=lambda v, _: f"{v} months")),
    "no-break blanks": csv(changed(income=lambda v, _: f"{v:,.2f}".replace(",", "\u202f").replace(".", ",")), separator=";"),
    "Swiss thousands": csv(changed(income=lambda v, _: f"{v * 100:,.2f}".replace(",", "\u2019"))),
    "minus in parentheses": csv(changed(debt=lambda v, r: f"({v})" if r % 9 == 0 else v)),
    "typeset minus": csv(changed(debt=lambda v, r: f"\u2212{v}" if r % 9 == 0 else v)),
    "two digits of a year": csv(changed(city=lambda _, r: f"{1 + r % 28:02d}.{1 + r % 12:02d}.{10 + r % 9}")),
    "days as digits": csv(changed(city=lambda _, r: f"20{10 + r % 9}{1 + r % 12:02d}{1 + r % 28:02d}")),
    "times with their offset": csv(changed(city=lambda _, r: f"20{10 + r % 9}-{1 + r % 12:02d}-{1 + r % 28:02d}T10:00:00Z")),
    "dates": csv(changed(city=lambda _, r: f"{1 + r % 28:02d}.{1 + r % 12:02d}.20{10 + r % 9}")),
    "words for missing": csv(changed(age=lambda v, r: "?" if r % 9 == 0 else v, debt=lambda v, r: "NA" if r % 7 == 0 else v)),
    "dashes": csv(changed(debt=lambda v, r: "-" if r % 7 == 0 else v, city=lambda v, r: "?" if r % 5 == 0 else v)),
    "lines before": "# exported\n# EUR\n" + csv(loans()),
    "two header lines": "X1,X2,X3,X4,X5,Y\n" + csv(loans()),
    "no header": csv(loans(), header=False),
    "index without a name": csv({"": list(range(600)), **loans()}),
    "float codes": csv(changed(late=lambda v, _: float(v))),
    "levels": csv(changed(late=lambda v, r: v * (1 + r % 3))),
    "unlabelled": csv(changed(late=lambda v, r: None if r % 30 == 0 else v)),
    "cyrillic": csv(changed(city=lambda v, _: {"Aarau": "Минск", "Bremen": "Томск"}.get(v, "Омск"))).encode("cp1251"),
    "names of any kind": csv(dict(zip(("row", "group", "part", "reason", "text", "y"), loans().values(), strict=True))),
    "words for classes": csv(changed(late=lambda v, _: ["no", "yes"][v])),
    "case and blanks": csv(changed(city=lambda v, r: [f" {v}\t", v.upper()][r % 2])),
    "constant and empty columns": csv(
        {**loans(), "one": ["x"] * 600, "none": [None] * 600, "also none": ["NA"] * 600, "late": loans()["late"]}
    ),
    "integer codes": csv(changed(city=lambda v, _: len(v), product=lambda v, _: len(v))),
    "odd names": csv({f"größe = {name}.1": values for name, values in list(loans().items())[:-1]} | {"late": loans()["late"]}),
    "missing says something": csv({**loans(), "asked": [None if late else "yes" for late in loans()["late"]], "late": loans()["late"]}),
    "one column of two values more": csv({"smoker": [row % 2 for row in range(600)], **loans()}),
    "rare class": csv(changed(late=lambda _, r: int(r % 12 == 0))),
    "separator of another kind": csv(loans(), separator="|"),
    "carriage returns": csv(loans()).replace("\n", "\r\n").encode("utf-8-sig"),
    "wide characters": csv(loans()).encode("utf-16"),
    "aligned columns": "\n".join("   ".join(f"{value:>12}" for value in row) for row in zip(*loans().values(), strict=True)),
    "a name of two lines": csv(loans()).replace("income,", '"income\n(a month)",', 1),
    "words of another language": csv(
        changed(income=lambda v, r: "k.A." if r % 9 == 0 else f"{v:,.2f} €", age=lambda v, r: "leer" if r % 7 == 0 else v)
    ),
    "gzip": gzip.compress(csv(loans()).encode()),
    "json lines": "\n".join(
        json.dumps({"tags": ["a"], **dict(zip(loans(), row, strict=True))}) for row in zip(*loans().values(), strict=True)
    ),
}


#: What is proposed for some of them.
WRITTEN = {
    "minus in parentheses": 'debt: {kind: numeric, minus: "()"}',
    "typeset minus": 'debt: {kind: numeric, minus: "\u2212"}',
    "two digits of a year": 'city: {kind: date, format: "%d.%m.%y"}',
    "days as digits": 'city: {kind: date, format: "%Y%m%d"}',
    "times with their offset": "city: {kind: date}",
    "dates": 'city: {kind: date, format: "%d.%m.%Y"}',
    "Swiss thousands": 'income: {kind: numeric, thousands: "\'"}',
    "no-break blanks": 'income: {kind: numeric, decimal: ",", thousands: " "}',
}


@pytest.mark.parametrize("form", FORMS)
def test_a_draft_reads_every_row_of_the_table(form: str, tmp_path: Path) -> None:
    name = {"gzip": "loans.csv.gz", "json lines": "loans.jsonl"}.get(form, "loans.csv")
    found = drafted(tmp_path, FORMS[form], name)
    chosen = write_draft(found, tmp_path / "config/config.yaml")
    run_extract(chosen, tmp_path)
    record = run_transform(chosen, tmp_path).record
    labelled = 580 if form == "unlabelled" else 600
    assert (record.rows, record.rejected) == (labelled, 0)
    assert set(record.classes.values()) == {sum(loans()["late"]), 600 - sum(loans()["late"])} or form in {"unlabelled", "rare class"}
    assert len(found.columns) >= 3
    assert form not in WRITTEN or WRITTEN[form] in found.text


def test_the_words_of_the_draft(tmp_path: Path) -> None:
    found = drafted(tmp_path, csv({"id": list(range(600)), "patient": [row % 40 for row in range(600)], **loans()}))
    assert (found.target.column, found.target.positive, dict(found.target.values)) == ("late", "1", {"0": "not late", "1": "late"})
    assert found.group == "patient"
    assert "identifies the row" in found.left_out["id"]
    assert "# rows of one patient belong together" in found.text
    shown = " ".join(str(row) for table in found.tables() for row in table.rows)
    assert "600" in shown
    assert "the class that must not be missed" in shown
    assert found.to_dict()["target"] == {"column": "late", "positive": "1", "values": {"0": "not late", "1": "late"}}


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        ({"late": lambda *_: 1}, {"target": "late"}, DataError, "holds one value only, '1'; a classifier needs two classes"),
        ({"late": lambda v, _: ["", "X"][v]}, {"target": "late"}, DataError, r"'X'.* cells are empty: if that is the other class, write"),
        ({"late": lambda *_: None}, {"target": "late"}, DataError, "holds no value"),
        ({"late": lambda _, r: "abc"[r % 3]}, {"target": "late"}, UsageError, "has 3 values: a, b, c; say which .* with --positive"),
        ({"late": lambda _, r: f"v{r % 40}"}, {"target": "late"}, DataError, "has 40 different values; a target has two classes"),
        ({}, {"target": "lat"}, UsageError, r"no column 'lat' \(did you mean 'late'\?\)"),
        ({}, {"positive": ("2",)}, UsageError, "--positive: '2' is no value of 'late'; it has: "),
        ({}, {"positive": ("0", "1")}, UsageError, "--positive names every value"),
    ],
)
def test_what_cannot_be_known_is_asked_for(columns: Any, options: Any, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        drafted(tmp_path, csv(changed(**columns)), **options)


@pytest.mark.parametrize("name", sorted(ANSWER_COLUMNS))
def test_a_column_may_have_the_name_of_one_of_answered_rows(name: str, tmp_path: Path) -> None:
    found = drafted(tmp_path, csv({name: [row % 40 for row in range(600)], **loans()}), target="late")
    assert name in found.columns
    assert drafted(tmp_path, csv({**loans(), name: loans()["late"]}), target=name).target.column == name


def test_several_columns_may_be_the_target(tmp_path: Path) -> None:
    table = {"left": loans()["late"], "income": loans()["income"], "right": loans(seed=1)["late"], "age": loans()["age"]}
    text = csv({"age2": loans()["age"], **table})
    with pytest.raises(UsageError, match="several columns may be the target: left, right; name it with --target COLUMN"):
        drafted(tmp_path, text)
    assert drafted(tmp_path, text, target="right").target.column == "right"


def test_no_column_looks_like_a_target(tmp_path: Path) -> None:
    table = {name: values for name, values in loans().items() if name != "late"}
    with pytest.raises(UsageError, match=r"no column looks like a target, .* --target COLUMN\. Columns: income, age"):
        drafted(tmp_path, csv(table))


def test_positive_values_can_be_named(tmp_path: Path) -> None:
    found = drafted(tmp_path, csv(changed(late=lambda _, r: "abc"[r % 3])), target="late", positive=("b", "c"))
    assert (found.target.positive, dict(found.target.values)) == ("b", {"a": "other", "b": "b or c", "c": "b or c"})
    same = drafted(tmp_path, csv(changed(late=lambda _, r: "abc"[r % 3])), positive=("b", "c"))
    assert (same.target.column, same.text) == ("late", found.text.replace("named;", "the only column that holds what is named positive;"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (csv({"remark": [f"it was {n} o'clock" for n in range(600)], "late": loans()["late"]}), "no column beside the target .*: text"),
        (csv({"a": [None] * 600, "late": loans()["late"]}), "no column beside the target .*: it holds no value"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12\n", "a Git LFS pointer"),
        (b"%PDF-1.7 ...", "a PDF document"),
        ("<html><body>", "an HTML or XML page"),
    ],
)
def test_what_is_no_table_for_a_model(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        drafted(tmp_path, text)


def test_from_a_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "loans.db")) as connection, connection:
        connection.execute("create table loan (income real, product text, late integer)")
        rows = zip(loans()["income"], loans()["product"], loans()["late"], strict=True)
        connection.executemany("insert into loan values (?, ?, ?)", rows)
    address = f"sqlite:///{tmp_path / 'loans.db'}"
    with pytest.raises(UsageError, match="is a database; say what to read from it with --query"):
        draft_configuration(address, tmp_path)
    found = draft_configuration(address, tmp_path, query="select * from loan")
    chosen = write_draft(found, tmp_path / "config/config.yaml")
    run_extract(chosen, tmp_path)
    assert run_transform(chosen, tmp_path).record.rows == 600


def test_a_configuration_is_never_replaced(tmp_path: Path) -> None:
    found = drafted(tmp_path, csv(loans()))
    write_draft(found, tmp_path / "config.yaml")
    with pytest.raises(UsageError, match=r"config\.yaml exists, and is not replaced"):
        write_draft(found, tmp_path / "config.yaml")


@pytest.mark.parametrize("share", [0.5, 0.35, 0.1, 0.04, 0.005, 0.001])
def test_the_promise_says_more_than_the_base_rate(share: float) -> None:
    alpha = draft_alpha(share)
    assert share / 5 < alpha < share / 2 or alpha == 0.1 < share
    assert len(re.sub(r"^0\.0*", "", f"{alpha:f}".rstrip("0"))) == 1

"""Further files of a table, in every form that the first may have: scored and monitored like a plain file."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from s3_server import S3Server
from sporeprint import settings
from sporeprint.errors import DataError
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.monitoring import monitor
from sporeprint.settings import Settings
from table_cases import CONFIG, csv, loans

FEATURES = ("income", "product")
CITIES = {"basic": "Минск", "plus": "Томск", "gold": "Омск"}


def rows(**changes: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """Sixty further loans, without their outcome."""
    table = loans(60, seed=5)
    return {name: [changes.get(name, lambda value: value)(value) for value in table[name]] for name in FEATURES}


def cyrillic(value: Any) -> Any:
    return CITIES[value]


def table() -> dict[str, list[Any]]:
    """The loans, with Cyrillic codes."""
    return {**loans(), "product": [CITIES[value] for value in loans()["product"]]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    """A model of a file in Windows-1251, without a line of column names."""
    root = tmp_path_factory.mktemp("further")
    (root / "loans.csv").write_bytes(csv(table(), header=False).encode("cp1251"))
    chosen = settings.parse(
        {
            **CONFIG,
            "source": {"path": "loans.csv", "csv": {"header": False, "encoding": "cp1251", "columns": list(table())}},
            "models": {"tree": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}},
            "runtime": {"threads": 1},
            "evaluation": {"replicates": 100},
        }
    )
    run_etl(chosen, root)
    return root, chosen


def json_lines(columns: dict[str, list[Any]]) -> str:
    return "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in zip(*columns.values(), strict=True))


def zipped(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.csv", text)


TEXT = csv(rows(product=cyrillic))
FORMS: dict[str, Callable[[Path], object]] = {
    "plain.csv": lambda path: path.write_text(TEXT),
    "rows.csv.gz": lambda path: path.write_bytes(gzip.compress(TEXT.encode())),
    "rows.csv.bz2": lambda path: path.write_bytes(bz2.compress(TEXT.encode())),
    "rows.csv.xz": lambda path: path.write_bytes(lzma.compress(TEXT.encode())),
    "rows.csv.zst": lambda path: path.write_bytes(pa.Codec("zstd").compress(TEXT.encode(), asbytes=True)),
    "rows.zip": lambda path: zipped(path, TEXT),
    "rows.jsonl": lambda path: path.write_text(json_lines(rows(product=cyrillic))),
    "rows.jsonl.gz": lambda path: path.write_bytes(gzip.compress(json_lines(rows(product=cyrillic)).encode())),
    "nested.jsonl": lambda path: path.write_text(json_lines({"tags": [["a"]] * 60, **rows(product=cyrillic)})),
    "aligned.txt": lambda path: path.write_text(
        "\n".join(" ".join(f"{field:>12}" for field in line.split(",")) for line in TEXT.splitlines())
    ),
    "rows.parquet": lambda path: pl.DataFrame(rows(product=cyrillic)).write_parquet(path),
    "preamble.csv": lambda path: path.write_text(f"# of today\n# in euros\n{TEXT}"),
    "semicolons.csv": lambda path: path.write_text(csv(rows(product=cyrillic), separator=";")),
    "eight_bit.csv": lambda path: path.write_bytes(TEXT.encode("cp1251")),
    "index.csv": lambda path: path.write_text(csv({"": list(range(60)), **rows(product=cyrillic)})),
}


@pytest.fixture(params=[*FORMS, "folder", "pattern", "s3", "headerless.csv"])
def further(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """The sixty rows in one form."""
    name: str = request.param
    if name in FORMS:
        FORMS[name](tmp_path / name)
        return tmp_path / name
    if name == "headerless.csv":
        whole = {**table(), **dict(zip(loans(60, seed=5), loans(60, seed=5).values(), strict=True)), **rows(product=cyrillic)}
        (tmp_path / name).write_text(csv({column: whole[column] for column in table()}, header=False))
        return tmp_path / name
    (folder := tmp_path / "parts").mkdir()
    header, *lines = TEXT.splitlines(keepends=True)
    for number in range(3):
        (folder / f"part-{number}.csv").write_text("".join([header, *lines[20 * number : 20 * number + 20]]))
    if name == "s3":
        store: S3Server = request.getfixturevalue("object_store")
        for path in folder.iterdir():
            store.put(f"further/{path.name}", path.read_bytes())
        return "s3://tables/further/part-*.csv"
    return folder if name == "folder" else folder / "part-*.csv"


def test_every_form_is_scored_alike(further: str | Path, trained: tuple[Path, Settings], tmp_path: Path) -> None:
    root, _ = trained
    (plain := tmp_path / "as_plain.csv").write_text(TEXT)
    predict(root, plain, tmp_path / "expected.parquet")
    predict(root, further, tmp_path / "answers.parquet")
    expected, answers = pl.read_parquet(tmp_path / "expected.parquet"), pl.read_parquet(tmp_path / "answers.parquet")
    assert answers.height == 60
    assert answers["unseen"].null_count() == 60
    assert answers.select("probability", "verdict").equals(expected.select("probability", "verdict"))


def test_every_form_is_monitored(further: str | Path, trained: tuple[Path, Settings]) -> None:
    root, chosen = trained
    run = monitor(chosen, root, further, now=lambda: datetime.now(UTC))
    assert "(60 rows)" in run.evaluation.current
    assert {column.column for column in run.evaluation.drift.columns} >= {*FEATURES, "probability", "verdict"}
    assert not list((root / "data/raw").glob(".unpacked-*"))


def test_a_damaged_archive_is_refused_by_name(trained: tuple[Path, Settings], tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(TEXT.encode())[:-20])
    with pytest.raises(DataError, match=r"rows\.csv\.gz is damaged or cut"):
        predict(trained[0], tmp_path / "rows.csv.gz", tmp_path / "answers.csv")

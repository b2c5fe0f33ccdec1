"""What a new user may hand in, and what they are told: a clear sentence, an exit code, and nothing replaced."""

import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sporeprint import settings
from sporeprint.cli import app as cli
from sporeprint.errors import StorageError
from sporeprint.pipelines.evaluate import run_evaluate
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.load import run_load
from sporeprint.pipelines.register import run_register
from sporeprint.pipelines.train import run_train
from sporeprint.pipelines.transform import run_transform
from sporeprint.registry.registry import Registry

Published = Callable[[Path], dict[str, str]]
Told = Callable[..., tuple[int, str]]

HEADER, FIRST = 0, 1


@pytest.fixture(scope="session")
def _loaded(_small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loaded") / "work"
    chosen = settings.parse(_small)
    run_extract(chosen, root, source=str(small_table))
    run_transform(chosen, root)
    run_load(chosen, root)
    (root / "config").mkdir()
    (root / "config/config.yaml").write_text(json.dumps(_small), encoding="utf-8")  # YAML 1.2 holds JSON
    return root


@pytest.fixture
def work(_loaded: Path, tmp_path: Path) -> Path:
    """A work directory with published tables and a configuration."""
    return Path(shutil.copytree(_loaded, tmp_path / "work"))


@pytest.fixture
def told(work: Path, published: Published, capsys: pytest.CaptureFixture[str]) -> Told:
    """What `sporeprint etl --source ...` answers to a bad table: exit code and message. Nothing a reader sees has changed."""

    def run(source: object, *options: str) -> tuple[int, str]:
        before = published(work)
        code = cli.run(["etl", "--source", str(source), "--workdir", str(work), "--quiet", *options])
        captured = capsys.readouterr()
        assert captured.out == ""
        assert published(work) == before
        assert [path.name for path in (work / "data").iterdir() if "staging" in path.name] == []
        return code, captured.err

    return run


@pytest.fixture
def lines(small_table: Path) -> list[str]:
    """The small table's lines, header first, without line ends."""
    return small_table.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def accepted(work: Path) -> Callable[[Path], dict[str, Any]]:
    """What the checks find in a table that can be used."""

    def run(source: Path) -> dict[str, Any]:
        chosen = settings.load_settings(work / "config/config.yaml", environ={})
        run_extract(chosen, work, source=str(source))
        return run_transform(chosen, work).to_dict()

    return run


Accepted = Callable[[Path], dict[str, Any]]


def text(lines: list[str], end: str = "\n") -> bytes:
    return (end.join(lines) + end).encode()


def with_value(lines: list[str], column: str, value: str, *rows: int) -> list[str]:
    """The table with a value put in, in these rows."""
    at, changed = lines[HEADER].split(";").index(column), list(lines)
    for row in rows:
        fields = changed[row + FIRST].split(";")
        fields[at] = value
        changed[row + FIRST] = ";".join(fields)
    return changed


# --- files that are no table -----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(told: Told, tmp_path: Path) -> None:
    assert told(tmp_path / "no.csv") == (
        4,
        f"error: no such file: {tmp_path}/no.csv; name a table with --source FILE or --source URL\n",
    )


def test_a_folder(told: Told, tmp_path: Path) -> None:
    (folder := tmp_path / "empty").mkdir()
    assert told(folder) == (4, f"error: {folder} is a folder without files; name a table\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty; it must hold a header and rows"),
        (b"\x00" * 4096, "x.csv"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"\x1f\x8b\x08\x00 ...", "is damaged or cut"),
        (b"PAR1 no table PAR1", "damaged or no Parquet file"),
        (bytes(range(1, 256)) * 100, "x.csv"),
    ],
    ids=["empty", "blank", "nul", "pdf", "gzip", "parquet", "noise"],
)
def test_a_file_that_holds_no_table(content: bytes, message: str, told: Told, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    code, said = told(tmp_path / "x.csv")
    assert code == 4
    assert message in said
    assert said.startswith("error: ")
    assert "unexpected" not in said
    assert "Traceback" not in said


def test_a_header_alone(told: Told, tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "x.csv").write_bytes(text(lines[:1]))
    assert told(tmp_path / "x.csv") == (4, f"error: {tmp_path}/x.csv has a header and no rows\n")


def test_a_file_that_cannot_be_read(told: Told) -> None:
    """Root may read what others may not; this file nobody can, where it begins."""
    assert told("/proc/self/mem") == (4, "error: cannot read /proc/self/mem: Input/output error\n")


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_wrong_separator_is_found_out_or_named(told: Told, accepted: Accepted, tmp_path: Path, lines: list[str]) -> None:
    for separator in ",\t|":
        (tmp_path / "x.csv").write_bytes(text([line.replace(";", separator) for line in lines]))
        assert accepted(tmp_path / "x.csv")["rows"] == 1800
    shutil.rmtree(tmp_path / "work/data/staging")
    code, said = told(tmp_path / "x.csv", "--set", "source.csv.separator=;")
    assert code == 4
    assert "read with the separator ';': the header has one field" in said
    assert "is the separator another one? Set source.csv.separator" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.partition(";")[2], "  missing: 'class' (the target)\n"),
        (lambda line: line.replace("cap-shape", "cap-shapes"), "  not in the dataset: 'cap-shapes' (did you mean 'cap-shape'?)\n"),
        (lambda line: line.replace("cap-surface", "cap-shape"), "the column 'cap-shape' is there 2 times; keep one\n"),
        (lambda line: f"{line};weight" if "class" in line else f"{line};1", "  not in the dataset: 'weight'\n"),
    ],
    ids=["missing", "renamed", "twice", "extra"],
)
def test_columns_that_are_not_those_of_the_dataset(
    change: Callable[[str], str], message: str, told: Told, tmp_path: Path, lines: list[str]
) -> None:
    (tmp_path / "x.csv").write_bytes(text([change(line) for line in lines]))
    code, said = told(tmp_path / "x.csv")
    assert code == 4
    assert message in said


def test_an_extra_column_can_be_ignored(work: Path, tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "x.csv").write_bytes(text([f"{line};{'weight' if 'class' in line else 1}" for line in lines]))
    chosen = settings.load_settings(work / "config/config.yaml", environ={}, overrides=["dataset.extra_columns=ignore"])
    run_extract(chosen, work, source=str(tmp_path / "x.csv"))
    assert run_transform(chosen, work).record.good == 1800


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "rule", "reason"),
    [
        ("stem-width", "17.wrz", "number:stem-width", "stem-width: '17.wrz' is not a finite number"),
        (
            "stem-width",
            "1,5",
            "number:stem-width",
            "'1,5' is not a finite number; if ',' is its decimal sign: dataset.columns.stem-width.decimal: ','",
        ),
        ("stem-width", "1e400", "number:stem-width", "stem-width: '1e400' is not a finite number"),
        ("stem-width", "-nan", "number:stem-width", "stem-width: '-nan' is not a finite number"),
        ("stem-width", "inf", "number:stem-width", "stem-width: 'inf' is not a finite number"),
        ("stem-width", "-3", "range:stem-width", "stem-width: '-3' is out of range, allowed is at least 0 and at most 500"),
        ("cap-shape", "wide", "allowed:cap-shape", "cap-shape: 'wide' is not one of b, c, x, f, s, p, o"),
        ("class", "", "required:class", "class: missing, and it is required"),
        ("class", "maybe", "allowed:class", "class: 'maybe' is not one of e, p"),
        ("cap-shape", "x" * 300, "allowed:cap-shape", "..."),
        ("cap-shape", '"x;y"', "allowed:cap-shape", "cap-shape: 'x;y' is not one of"),
        ("cap-shape", "x\0", "malformed", "holds a NUL byte"),
        ("cap-shape", "x;x", "malformed", "22 fields instead of 21"),
        ("cap-shape", '"x', "malformed", "a quote is opened and never closed"),
    ],
)
def test_a_value_that_cannot_be(
    column: str, value: str, rule: str, reason: str, told: Told, accepted: Accepted, work: Path, tmp_path: Path, lines: list[str]
) -> None:
    (tmp_path / "x.csv").write_bytes(text(with_value(lines, column, value, 4)))
    code, said = told(tmp_path / "x.csv", "--set", "validation.max_rejected_share=0")
    assert code == 4
    assert (
        f"error: 1 of 1,800 rows are rejected (0.06%; validation.max_rejected_share allows 0.00%): {rule} (1). For example row 4: " in said
    )
    assert reason in said
    assert "Nothing was replaced" in said
    assert accepted(tmp_path / "x.csv")["by_rule"] == {rule: 1}
    rejected = pl.read_parquet(work / "data/staging/rejected.parquet")
    assert rejected["_row"].to_list() == [4]
    assert reason in rejected["reason"][0]


@pytest.mark.parametrize(("value", "means"), [(" x ", "x"), ('"x"', "x"), ("+1e0", None), ("", None)])
def test_a_value_that_can(value: str, means: str | None, accepted: Accepted, work: Path, tmp_path: Path, lines: list[str]) -> None:
    column = "cap-shape" if means else "stem-width"
    (tmp_path / "x.csv").write_bytes(text(with_value(lines, column, value, 4)))
    assert accepted(tmp_path / "x.csv")["rejected"] == 0
    found = pl.read_parquet(work / "data/staging/processed.parquet")[column][4]
    assert found == (means or (None if value == "" else 1.0))


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_a_last_line_that_is_cut_off(accepted: Accepted, tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "x.csv").write_bytes(text(lines)[:-20])
    found = accepted(tmp_path / "x.csv")
    assert (found["rows"], found["by_rule"]) == (1800, {"malformed": 1})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_every_way_to_write_the_same_table(
    encoding: str, end: str, accepted: Accepted, work: Path, tmp_path: Path, lines: list[str]
) -> None:
    written = with_value(lines, "stem-width", "breit, müßte man messen", 7)
    (tmp_path / "x.csv").write_bytes((end.join(written) + end).encode(encoding))
    found = accepted(tmp_path / "x.csv")
    assert (found["rows"], found["by_rule"]) == (1800, {"number:stem-width": 1})
    assert pl.read_parquet(work / "data/staging/rejected.parquet")["stem-width"].to_list() == ["breit, müßte man messen"]
    kept = pl.read_parquet(work / "data/staging/processed.parquet", columns=["_row", "cap-shape", "cap-diameter"])
    (tmp_path / "plain.csv").write_bytes(text(lines))
    accepted(tmp_path / "plain.csv")
    plain = pl.read_parquet(work / "data/staging/processed.parquet", columns=["_row", "cap-shape", "cap-diameter"])
    assert kept.equals(plain.filter(pl.col("_row") != 7))


def test_one_line_of_100_mb(work: Path, lines: list[str], tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("wb") as file:
        file.write(text(lines[:900]))
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + text(lines[900:]))
    before = {*(work / "logs").iterdir()}
    done = executed("etl", "--source", tmp_path / "x.csv", "--workdir", work, "--set", "validation.max_rejected_share=0")
    assert done.returncode == 4
    assert "1 of 1,801 rows are rejected" in done.stderr
    assert "malformed (1). For example row 899: longer than" in done.stderr
    (log,) = {*(work / "logs").iterdir()} - before
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert max(entry["peak_mib"] for entry in entries) < 600


def test_nothing_but_one_line_of_100_mb(told: Told, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"x" * 100_000_000)
    code, said = told(tmp_path / "x.csv")
    assert code == 4
    assert len(said) < 1000


# --- classes ---------------------------------------------------------------------------------------------------------


def test_one_class_only(told: Told, tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "x.csv").write_bytes(text([line for line in lines if line.startswith(("class", "p;"))]))
    code, said = told(tmp_path / "x.csv")
    assert code == 4
    assert said == "error: the table has one class only: every row is 'poisonous', none is 'edible'; a classifier needs both\n"


def test_a_species_too_small_to_split(accepted: Accepted, work: Path, tmp_path: Path, lines: list[str]) -> None:
    """A single row of a species can stand in one part only, which is no fault: species need not be in every part."""
    chosen = ["dataset.groups={name: box, column: box}"]
    named = [f"{line};{'box' if number == 0 else 'alone' if number == 5 else number % 9}" for number, line in enumerate(lines)]
    (tmp_path / "x.csv").write_bytes(text(named))
    found = settings.load_settings(work / "config/config.yaml", environ={}, overrides=chosen)
    run_extract(found, work, source=str(tmp_path / "x.csv"))
    assert run_transform(found, work).record.groups.count == 10


# --- archives --------------------------------------------------------------------------------------------------------


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["readme.txt"], "holds no table (.csv, .tsv, .data, .parquet, .pq); it holds readme.txt"),
        ([], "holds no table (.csv, .tsv, .data, .parquet, .pq); it holds nothing"),
        (["a.csv", "b/c.csv"], "holds 2 tables: a.csv, b/c.csv; say which under source.download.members"),
    ],
)
def test_a_zip_without_the_one_table(names: list[str], message: str, told: Told, tmp_path: Path, lines: list[str]) -> None:
    code, said = told(zipped(tmp_path / "x.zip", dict.fromkeys(names, text(lines))))
    assert (code, said) == (4, f"error: {tmp_path}/x.zip {message}\n")


def test_a_zip_with_its_one_table(accepted: Accepted, tmp_path: Path, lines: list[str]) -> None:
    assert accepted(zipped(tmp_path / "x.zip", {"x.csv": text(lines), "readme.txt": b"hello"}))["rows"] == 1800


def test_a_zip_that_expands_without_end(told: Told, tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "x.zip", {"x.csv": bytes(30_000_000)})
    assert bomb.stat().st_size < 100_000
    chosen = ("--set", "source.download={url: 'http://127.0.0.1:9/x.zip', max_mb: 5}")
    code, said = told(bomb, *chosen)
    assert (code, said) == (4, f"error: {bomb} expands to more than 5 MB; if that is right, raise source.download.max_mb\n")


def test_a_zip_that_is_cut_off(told: Told, tmp_path: Path, lines: list[str]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.csv", text(lines))
    (tmp_path / "x.zip").write_bytes(buffer.getvalue()[:5000])
    code, said = told(tmp_path / "x.zip")
    assert code == 4
    assert "is a damaged or unusual zip" in said


# --- the machine -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, which fails where a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def executed(*arguments: object, limit: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """The real program; `limit`: bytes a file may grow to."""
    command = [sys.executable, "-m", "sporeprint", *map(str, arguments), "--quiet"]
    with full_disk(limit):
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "400"})


@pytest.mark.parametrize(("step", "limit"), [("transform", 20_000), ("train", 1_000), ("evaluate", 30_000), ("register", 20_000)])
def test_a_full_disk_is_said_and_a_rerun_succeeds(
    step: str, limit: int, small_config: dict[str, Any], small_copy: Path, published: Published
) -> None:
    small_config["models"] = {"decision_tree": small_config["models"]["decision_tree"]}
    small_config["models"]["decision_tree"]["params"]["min_samples_leaf"] = 3
    chosen = settings.parse(small_config)
    if step == "register":
        run_train(chosen, small_copy)
        run_evaluate(chosen, small_copy)
    before = published(small_copy)
    runs: dict[str, Callable[..., object]] = {
        "transform": run_transform,
        "train": run_train,
        "evaluate": run_evaluate,
        "register": run_register,
    }
    run = runs[step]
    with full_disk(limit), pytest.raises(StorageError, match=r"cannot write .*File too large"):
        run(chosen, small_copy)
    after = published(small_copy)
    assert [name for name in after if name.endswith(".tmp") or "staging" in name] == []
    kept = {name for name in before if name.startswith(("data/", "models/registry/xgboost/", "models/registry/decision_tree/v1"))}
    assert kept
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert Registry(small_copy / "models/registry").verify_all() == ()
    run(chosen, small_copy)


def test_a_full_disk_ends_the_program_with_6(work: Path, small_table: Path, published: Published) -> None:
    before = published(work)
    done = executed("etl", "--workdir", work, "--source", small_table, limit=20_000)
    assert (done.returncode, done.stdout) == (6, "")
    told, error = done.stderr.splitlines()
    assert told.startswith("warning: the run ")  # nor did its row go into the database
    assert error.startswith(f"error: cannot write {work}/data/.staging-")
    assert "File too large" in error
    assert published(work) == before


def test_a_work_directory_that_cannot_be(small_table: Path, work: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = executed("etl", "--config", work / "config/config.yaml", "--workdir", tmp_path / "file/below", "--source", small_table)
    assert done.returncode == 6
    assert done.stderr == f"error: cannot use the work directory {tmp_path}/file/below: Not a directory\n"


@pytest.mark.parametrize("file", ["model.json", "encoder.json", "schema.json", "manifest.json", "xgboost.joblib"])
def test_a_registry_with_one_altered_byte_is_refused_and_the_file_named(
    file: str, small_copy: Path, small_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_copy / "models/registry/xgboost/v1" / file
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code = cli.run(["models", "verify", "--workdir", str(small_copy)])
    captured = capsys.readouterr()
    assert code == 5
    assert file in captured.out + captured.err
    if file == "xgboost.joblib":
        return  # for notebooks; nothing that answers reads it
    code = cli.run(
        ["predict", str(small_table), "--out", str(tmp_path / "out.csv"), "--workdir", str(small_copy), "--model", "xgboost", "--quiet"]
    )
    captured = capsys.readouterr()
    assert code == 5
    assert captured.err.startswith("error: ")
    assert file.partition(".")[0] in captured.err
    assert "xgboost" in captured.err
    assert not (tmp_path / "out.csv").exists()

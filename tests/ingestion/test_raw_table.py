"""The extract step from end to end: every source, every way it can be wrong, and what is left behind."""

import gzip
import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sporeprint.errors import ConfigError, DataError, SourceUnavailableError, StorageError
from sporeprint.ingestion.raw_table import CsvDialect, RawTable, open_raw_table, open_table, read_batches
from sporeprint.settings import Settings, parse
from sporeprint.simulation.generator import simulate_table
from warm_start import Warm

TABLE = b"class;width;note\ne;1.5;n\np;2;\n"
OTHER = b"class,width,note\np,9,x\n"
BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)

Make = Callable[..., Settings]


@pytest.fixture
def make(raw_config: dict[str, Any]) -> Make:
    """Settings of a small dataset, with the given `source`."""

    def settings(**source: Any) -> Settings:
        dataset = {
            "name": "tiny",
            "target": {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}},
            "columns": {"width": {"kind": "numeric"}, "note": {"kind": "nominal", "values": {"n": "none", "x": "extra"}}},
        }
        raw = {**raw_config, "dataset": dataset, "source": {"path": "data/raw/t.csv", **source}}
        raw["transform"] = {**raw["transform"], "columns": {}}
        return parse(raw)

    return settings


def clock() -> Callable[[], datetime]:
    ticks = count()
    return lambda: BEGUN + timedelta(seconds=next(ticks))


def run(settings: Settings, workdir: Path, source: str | Path | None = None) -> RawTable:
    return open_raw_table(settings, workdir, source=None if source is None else str(source), now=clock())


def rows_of(raw: RawTable, settings: Settings) -> list[tuple[Any, ...]]:
    return [row for batch in read_batches(raw, settings.dataset, batch_bytes=1 << 20) for row in batch.frame.rows()]


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Site:
    """A real server that serves what `files` holds, and hangs half-way through `/hangs.csv`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.free = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.files.get(self.path.partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body[:20] if body and self.path == "/hangs.csv" else body or b"")
                if self.path == "/hangs.csv":
                    self.wfile.flush()
                    site.free.wait(60)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def site() -> Iterator[Site]:
    running = Site()
    thread = threading.Thread(target=running.http.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.free.set()
    running.http.shutdown()
    running.http.server_close()
    thread.join()


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_local_file_is_left_in_place_and_noted(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "mine" / "t.csv"
    path.parent.mkdir()
    path.write_bytes(TABLE)
    raw = run(make(), tmp_path / "work", path)
    assert raw.path == path
    assert (raw.format, raw.dialect) == ("csv", CsvDialect(";", "utf-8", header=True, newline="\n"))
    found = raw.provenance
    assert (found.source, found.kind, found.path, found.bytes, found.rows) == (str(path), "file", str(path), len(TABLE), 2)
    assert found.sha256 == hashlib.sha256(TABLE).hexdigest()
    assert (found.extracted_at, found.seconds, found.simulated) == ("2026-01-01T12:00:00+00:00", 1.0, False)
    assert rows_of(raw, make()) == [(0, "e", "1.5", "n"), (1, "p", "2", None)]
    assert left_in(tmp_path) == ["mine/t.csv"]


def test_the_configured_file_is_below_the_work_directory(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "t.csv").write_bytes(TABLE)
    raw = run(make(), tmp_path)
    assert raw.provenance.path == "data/raw/t.csv"
    assert raw.provenance.source == "data/raw/t.csv"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_record_survives_json(suffix: str, make: Make, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(TABLE)
    if suffix == ".parquet":
        pq.write_table(pa.table({"class": ["e"], "width": [1.0], "note": ["n"]}), path)
    raw = run(make(), tmp_path, path)
    assert RawTable.from_json(raw.to_json()) == raw
    assert raw.provenance.rows == (1 if suffix == ".parquet" else 2)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"path": "t.csv", "format": "csv", "dialect": {"x": 1}, "provenance": {}}'])
def test_a_damaged_record_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"the record of the last extract is damaged \(.*\); run sporeprint extract again"):
        RawTable.from_json(text)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (TABLE, 2),
        (TABLE.rstrip(b"\n"), 2),
        (TABLE.replace(b"\n", b"\r\n"), 2),
        (TABLE + b"\n", None),
        (TABLE.replace(b"n\n", b'"n"\n'), None),
        (TABLE.replace(b"\n", b"\r"), None),
        (TABLE.decode().encode("utf-16"), None),
    ],
)
def test_rows_are_counted_where_a_line_is_a_row(content: bytes, rows: int | None, make: Make, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    raw = run(make(), tmp_path, tmp_path / "t.csv")
    assert raw.provenance.rows == rows
    assert len(rows_of(raw, make())) == 2


def test_a_table_to_score_needs_no_target(make: Make, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"width;note\n1;n\n")
    raw = open_raw_table(make(), tmp_path, source=str(tmp_path / "t.csv"), now=clock(), labelled=False)
    (batch,) = read_batches(raw, make().dataset, batch_bytes=100, labelled=False)
    assert batch.frame.rows() == [(0, "1", "n")]


def test_rows_to_score_are_looked_at_where_they_lie(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id;note;width\n7;n;1\n")
    raw = open_table(path, make().dataset, now=clock())
    assert (raw.path, raw.format, raw.provenance.rows, raw.provenance.bytes) == (path, "csv", 1, 20)
    (batch,) = read_batches(raw, make().dataset, batch_bytes=100, labelled=False)
    assert batch.frame.rows() == [(0, "7", "n", "1")]
    pq.write_table(pa.table({"note": ["n"], "id": [7], "width": [1.0]}), path)
    assert open_table(path, make().dataset, now=clock()).format == "parquet"
    with pytest.raises(DataError, match="is no file; name a table"):
        open_table(tmp_path, make().dataset, now=clock())
    with pytest.raises(DataError, match="no such file: "):
        open_table(tmp_path / "gone.csv", make().dataset, now=clock())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t\.csv is empty, without even a header; remove it, or write it again$"),
        (b"\n\n", "is empty; it must hold a header and rows"),
        (b"class;width;note\n", "has a header and no rows"),
        (b"class:width:note\n1:2:3\n", r"the header has one field, 'class:width:note'; is the separator another one\?"),
        (b"class;note\ne;n\n", "missing: 'width'"),
        (b"class;widht;note\ne;1;n\n", r"missing: 'width'\n  not in the dataset: 'widht' \(did you mean 'width'\?\)"),
        (b"class;width;note;note\ne;1;n;n\n", "the column 'note' is there 2 times"),
        (b"class;width;note;more\ne;1;n;n\n", "not in the dataset: 'more'"),
        (b"<html><body>Sign in", "is an HTML or XML page, no table"),
    ],
)
def test_a_file_that_is_no_table_is_refused(content: bytes, message: str, make: Make, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        run(make(), tmp_path, tmp_path / "t.csv")


def test_paths_that_are_no_file_are_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(TABLE)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "gone.csv": r"no such file: .*gone\.csv; name a table with --source FILE or --source URL",
        "file/t.csv": r"no such file: .*file/t\.csv",
        "empty": "is a folder without files; name a table",
        "pipe": "is no regular file",
        "x" * 300: "cannot read .*: File name too long",
    }.items():
        with pytest.raises(DataError, match=message):
            run(make(), tmp_path, tmp_path / name)


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        ("parquet", "t.csv", r"t\.csv is no Parquet file, but source\.format says parquet; set it to auto"),
        ("csv", "p.csv", r"p\.csv is a Parquet file, but source\.format says csv"),
        ("auto", "t.parquet", r"t\.parquet is no Parquet file, it does not begin as one; was it cut or renamed\?"),
    ],
)
def test_another_format_than_the_one_that_is_said(form: str, name: str, message: str, make: Make, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(TABLE)
    if name == "p.csv":
        pq.write_table(pa.table({"class": ["e"], "width": [1.0], "note": ["n"]}), path)
    with pytest.raises(DataError, match=message):
        run(make(format=form), tmp_path, path)


def test_a_file_that_changed_or_went_is_noticed_when_it_is_read(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TABLE)
    raw = run(make(), tmp_path, path)
    path.write_bytes(TABLE.replace(b"width", b"depth"))
    with pytest.raises(DataError, match="missing: 'width'"):
        rows_of(raw, make())
    path.unlink()
    with pytest.raises(DataError, match=r"t\.csv is missing; run sporeprint extract again, or name another table with --source"):
        rows_of(raw, make())
    path.mkdir()
    with pytest.raises(DataError, match=r"cannot read .*t\.csv: Is a directory"):
        rows_of(raw, make())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_simulated_file_stays_marked_as_such(suffix: str, make: Make, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    made = simulate_table(make().dataset, path, rows=100, groups=10, seed=1)
    raw = run(make(), tmp_path, path)
    assert (raw.provenance.simulated, raw.provenance.kind, raw.provenance.rows) == (True, "file", 100)
    if suffix == ".parquet":
        made.sidecar.unlink()
        assert run(make(), tmp_path, path).provenance.simulated


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_simulated_files_stay_marked_in_a_folder_and_when_packed(suffix: str, make: Make, tmp_path: Path) -> None:
    (folder := tmp_path / "parts").mkdir()
    for number in range(2):
        simulate_table(make().dataset, folder / f"t{number}{suffix}", rows=100, groups=10, seed=number)
    raw = run(make(), tmp_path, folder)
    assert (raw.provenance.simulated, raw.provenance.rows) == (True, 200)
    packed = folder / f"t0{suffix}.gz"
    packed.write_bytes(gzip.compress((folder / f"t0{suffix}").read_bytes()))
    assert run(make(), tmp_path, packed).provenance.simulated


# --- addresses -------------------------------------------------------------------------------------------------------


def test_a_table_at_an_address(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/a/t%20b.csv"] = OTHER
    raw = run(make(), tmp_path, site.url.replace("//", "//me:secret@") + "/a/t%20b.csv?token=abc")
    assert raw.provenance.kind == "url"
    assert raw.provenance.source == site.url.replace("//", "//me:***@") + "/a/t%20b.csv?token=***"
    assert raw.provenance.path == "data/raw/t_b.csv"
    assert rows_of(raw, make()) == [(0, "p", "9", "x")]
    assert left_in(tmp_path) == ["data/raw/t_b.csv"]


@pytest.mark.parametrize("path", ["/", "/.."])
def test_an_address_without_a_name(path: str, site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/"] = site.files["/.."] = OTHER
    assert run(make(), tmp_path, site.url + path).provenance.path == "data/raw/tiny.csv"


def test_an_address_may_be_the_configured_path(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.csv"] = OTHER
    assert rows_of(run(make(path=f"{site.url}/t.csv"), tmp_path), make()) == [(0, "p", "9", "x")]


def test_parquet_at_an_address(site: Site, make: Make, tmp_path: Path) -> None:
    pq.write_table(pa.table({"class": ["e"], "width": [1.5], "note": ["n"]}), tmp_path / "t.parquet")
    site.files["/t.parquet"] = (tmp_path / "t.parquet").read_bytes()
    raw = run(make(), tmp_path / "work", f"{site.url}/t.parquet")
    assert (raw.format, raw.provenance.rows) == ("parquet", 1)
    assert rows_of(raw, make()) == [(0, "e", 1.5, "n")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"/t\.csv: the server answers 404 Not Found; check the address"),
        (b"<!DOCTYPE html>", r"http://127.*/t\.csv is an HTML or XML page, no table"),
        (b"", r"/t\.csv is empty"),
        (b"class;width\ne;1\n", r"http://127.*/t\.csv, read with the separator ';': the columns are not .*\n  missing: 'note'"),
        (zipped({"a.txt": b""}), r"/t\.csv holds no table \(\.csv, .*\); it holds a\.txt"),
        (zipped({"a.csv": TABLE, "b.csv": OTHER}), r"/t\.csv holds 2 tables: a\.csv, b\.csv; say which under source\.download\.members"),
        (zipped({"a.csv": bytes(3_000_000)}), r"/t\.csv expands to more than 2 MB"),
        (zipped({"a.csv": zipped({"b.csv": TABLE})}), r"a\.csv in http://.* is a zip itself; expected a table"),
        (b"x" * 3_000_000, r"/t\.csv holds more than 2 MB"),
    ],
)
def test_what_is_no_table_replaces_none(content: bytes | None, message: str, site: Site, make: Make, tmp_path: Path) -> None:
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "t.csv").write_bytes(TABLE)
    if content is not None:
        site.files["/t.csv"] = content
    settings = make(download={"url": f"{site.url}/x", "max_mb": 2})
    with pytest.raises(DataError, match=message):
        run(settings, tmp_path, f"{site.url}/t.csv")
    assert left_in(tmp_path) == ["data/raw/t.csv"]
    assert (tmp_path / "data" / "raw" / "t.csv").read_bytes() == TABLE


def test_the_only_table_of_a_zip(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.zip"] = zipped({"inner.zip": zipped({"folder/u.csv": OTHER, "readme.txt": b""})})
    raw = run(make(), tmp_path, f"{site.url}/t.zip")
    assert raw.provenance.path == "data/raw/u.csv"
    assert rows_of(raw, make()) == [(0, "p", "9", "x")]
    assert left_in(tmp_path) == ["data/raw/u.csv"]


def test_a_zip_may_be_a_local_file(make: Make, tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(zipped({"u.csv": OTHER}))
    raw = run(make(), tmp_path, tmp_path / "t.zip")
    assert (raw.provenance.kind, raw.provenance.path, raw.provenance.source) == ("file", "data/raw/u.csv", str(tmp_path / "t.zip"))


def test_members_say_which_of_two_tables_is_meant(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.zip"] = zipped({"a.csv": TABLE, "b.csv": OTHER})
    download = {"url": f"{site.url}/elsewhere.zip", "members": {"b.csv": "data/raw/t.csv", "a.csv": "data/raw/names.csv"}}
    raw = run(make(download=download), tmp_path, f"{site.url}/t.zip")
    assert raw.path.read_bytes() == OTHER
    assert left_in(tmp_path) == ["data/raw/names.csv", "data/raw/t.csv"]
    with pytest.raises(ConfigError, match=r"source\.download\.members: none of them is to become source\.path, 'data/raw/t\.csv'"):
        run(make(download={**download, "members": {"a.csv": "data/raw/a.csv"}}), tmp_path, f"{site.url}/t.zip")


# --- the configured download -----------------------------------------------------------------------------------------


def test_a_missing_file_is_downloaded(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.zip"] = zipped({"inner.zip": zipped({"x/a.csv": TABLE, "x/names.csv": b"name\nfly agaric\n"})})
    members = {"a.csv": "data/raw/t.csv", "names.csv": "data/raw/names.csv"}
    settings = make(download={"url": f"{site.url}/t.zip", "members": members})
    raw = run(settings, tmp_path)
    assert (raw.provenance.kind, raw.provenance.source, raw.provenance.path) == ("url", f"{site.url}/t.zip", "data/raw/t.csv")
    assert left_in(tmp_path) == ["data/raw/names.csv", "data/raw/t.csv"]
    site.files.clear()
    assert run(settings, tmp_path).provenance.kind == "file"


@pytest.mark.parametrize("content", [TABLE, zipped({"any.csv": TABLE})])
def test_the_download_takes_the_configured_place(content: bytes, site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/any"] = content
    run(make(download={"url": f"{site.url}/any"}), tmp_path)
    assert left_in(tmp_path) == ["data/raw/t.csv"]


def test_a_download_without_its_members_is_refused(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.zip"] = zipped({"a.csv": TABLE})
    settings = make(download={"url": f"{site.url}/t.zip", "members": {"b.csv": "data/raw/t.csv"}})
    with pytest.raises(DataError, match=r"/t\.zip holds no 'b\.csv'; it holds a\.csv; change source\.download\.members"):
        run(settings, tmp_path)


@pytest.mark.parametrize("name", ["t.zip", "a.csv"])
def test_a_file_of_another_sha256_is_refused(name: str, site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.zip"] = zipped({"a.csv": TABLE})
    settings = make(download={"url": f"{site.url}/t.zip", "sha256": {name: "0" * 64}})
    with pytest.raises(DataError, match=rf"{name} has the sha256 [0-9a-f]{{64}}, source\.download\.sha256 expects 0+; it is not the file"):
        run(settings, tmp_path)
    assert left_in(tmp_path) == []


def test_nothing_to_download_from(make: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv is missing, and no source\.download is set; put the table there, name one with --source"):
        run(make(), tmp_path)
    assert run(make(fallback="simulate"), tmp_path).provenance.simulated


def test_a_refusal_is_not_papered_over_with_a_simulation(site: Site, make: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the server answers 404 Not Found"):
        run(make(download={"url": f"{site.url}/t.zip"}, fallback="simulate"), tmp_path)


def test_what_cannot_be_reached_is_simulated_and_marked(make: Make, tmp_path: Path) -> None:
    settings = make(download={"url": "http://127.0.0.1:1/t.zip", "retries": 0}, fallback="simulate", csv={"separator": "|"})
    raw = run(settings, tmp_path)
    found = raw.provenance
    assert (found.kind, found.simulated, found.path, found.rows) == ("simulated", True, "data/raw/simulated.csv", 61_069)
    assert found.source.startswith("simulated, because http://127.0.0.1:1/t.zip cannot be reached, after 1 try: ")
    assert len(rows_of(raw, settings)) == 61_069
    assert run(settings, tmp_path).provenance.sha256 == found.sha256
    # What a person names is never replaced by an invention.
    with pytest.raises(SourceUnavailableError, match=r"http://127\.0\.0\.1:1/t\.csv cannot be reached"):
        run(settings, tmp_path, "http://127.0.0.1:1/t.csv")


def test_or_the_run_stops_and_says_what_to_do(make: Make, tmp_path: Path) -> None:
    settings = make(download={"url": "http://127.0.0.1:1/t.zip", "retries": 0}, fallback="fail")
    message = (
        r"t\.csv is missing, and http://127.* cannot be reached, .*; try again later, put the table there, or name one with --source FILE"
    )
    with pytest.raises(SourceUnavailableError, match=message):
        run(settings, tmp_path)
    assert left_in(tmp_path) == []


# --- databases -------------------------------------------------------------------------------------------------------


def test_a_query(make: Make, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection, connection:
        connection.execute("create table t (note, width, class)")
        connection.execute("insert into t values ('n', 1.5, 'e'), (null, '1,5', 'p')")
    settings = make(query="select class, width, note from t order by class")
    raw = run(settings, tmp_path / "work", f"sqlite:///{tmp_path / 't.db'}")
    found = raw.provenance
    assert (raw.format, found.kind, found.path, found.rows) == ("parquet", "sql", "data/raw/tiny.parquet", 2)
    assert rows_of(raw, settings) == [(0, "e", "1.5", "n"), (1, "p", "1,5", None)]
    with pytest.raises(DataError, match=r"sqlite:///.*t\.db holds no rows"):
        run(make(query="select class, width, note from t where 0"), tmp_path / "work", f"sqlite:///{tmp_path / 't.db'}")
    assert len(rows_of(raw, settings)) == 2


def test_a_database_needs_a_query(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.query is missing: mysql\+pymysql://me:\*\*\*@host/db is a database"):
        run(make(), tmp_path, "mysql+pymysql://me:secret@host/db")


# --- what is left behind ---------------------------------------------------------------------------------------------

PROGRAM = """
import json, os, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from sporeprint.errors import SporeprintError
from sporeprint.ingestion.raw_table import open_raw_table
from sporeprint.settings import parse

raw, workdir, source, most, nobody = json.loads(sys.argv[1])
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
if nobody and os.getuid() == 0:
    os.setuid(65534)
try:
    open_raw_table(parse(raw), Path(workdir), source=source, now=lambda: datetime.now(UTC))
except SporeprintError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def program(settings: Settings, workdir: Path, source: str | Path, *, most: int = 0, nobody: bool = False) -> "subprocess.Popen[str]":
    """The extract step in a process of its own, which may write files of at most `most` bytes, and is not root if `nobody`."""
    arguments = json.dumps([settings.model_dump(mode="json", exclude_none=True), str(workdir), str(source), most, nobody])
    return Warm([sys.executable, "-c", PROGRAM, arguments], stderr=subprocess.PIPE, text=True)


def test_a_file_that_may_not_be_read_is_refused(make: Make) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "t.csv"
        path.write_bytes(TABLE)
        path.chmod(0)
        with program(make(), Path(folder), path, nobody=True) as running:
            _, said = running.communicate(timeout=60)
    assert said == f"DataError: cannot read {path}: Permission denied\n"


@pytest.mark.parametrize("name", ["t.csv", "t.zip"])
def test_a_full_disk_leaves_what_was_there(name: str, site: Site, make: Make, tmp_path: Path) -> None:
    table = TABLE + b"e;1.5;n\n" * 100_000
    site.files["/t.csv"], site.files["/t.zip"] = table, zipped({"t.csv": table})
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "t.csv").write_bytes(TABLE)
    with program(make(), tmp_path, f"{site.url}/{name}", most=500_000) as running:
        _, said = running.communicate(timeout=60)
    assert "StorageError: cannot write to" in said
    assert "File too large; nothing was replaced" in said
    assert left_in(tmp_path) == ["data/raw/t.csv"]
    assert (tmp_path / "data" / "raw" / "t.csv").read_bytes() == TABLE


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_nothing_that_a_reader_sees(how: signal.Signals, site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/hangs.csv"] = TABLE + b"e;1;n\n" * 1000
    with program(make(), tmp_path, f"{site.url}/hangs.csv") as running:
        part = tmp_path / "data" / "raw" / ".download" / "received"
        deadline = time.monotonic() + 60
        while not part.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(how)
        running.communicate(timeout=60)
    assert left_in(tmp_path) == ([] if how == signal.SIGINT else ["data/raw/.download/received"])
    site.files["/t.csv"] = TABLE
    run(make(), tmp_path, f"{site.url}/t.csv")
    assert left_in(tmp_path) == ["data/raw/t.csv"]


def test_a_folder_that_cannot_be_made_is_named(site: Site, make: Make, tmp_path: Path) -> None:
    site.files["/t.csv"] = TABLE
    (tmp_path / "data").touch()
    with pytest.raises(StorageError, match=r"cannot write to .*data/raw: Not a directory; nothing was replaced"):
        run(make(), tmp_path, f"{site.url}/t.csv")


def test_the_real_table(real_data: Path, raw_config: dict[str, Any], tmp_path: Path) -> None:
    settings = parse(raw_config)
    raw = run(settings, tmp_path, real_data)
    assert raw.dialect == CsvDialect(";", "utf-8", header=True, newline="\r\n")
    assert raw.provenance.rows == 61_069
    assert raw.provenance.sha256.startswith("c0eb333df574")
    batches = list(read_batches(raw, settings.dataset, batch_bytes=1 << 20))
    assert (sum(batch.frame.height for batch in batches), sum(batch.malformed.height for batch in batches)) == (61_069, 0)

"""The rows of a CSV file: what is read, what is malformed and why, and that neither depends on where the chunks are cut."""

import csv
import io
import re
import tempfile
import tracemalloc
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sporeprint.common.progress import SilentProgress
from sporeprint.ingestion import csv_reader
from sporeprint.ingestion.csv_dialect import MAX_LINE, CsvDialect, Newline, detect
from sporeprint.ingestion.csv_reader import read_csv
from sporeprint.ingestion.file_scan import scan
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings

Row = tuple[int, str | None, str | None, str | None]
Bad = tuple[int, str, str]

SCHEMA = DatasetSchema.model_validate(
    {
        "name": "tiny",
        "target": {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}},
        "columns": {"width": {"kind": "numeric"}, "note": {"kind": "nominal"}},
    }
)
HEADER = b"class;width;note\n"


def read(path: Path, dialect: CsvDialect | None = None, *, batch_bytes: int = 1 << 20) -> tuple[list[Row], list[Bad]]:
    """Every good and every malformed row of a file."""
    if dialect is None:
        dialect = detect(path, CsvSettings(), SCHEMA, scan(path, SilentProgress()), where="t")
    good: list[Row] = []
    bad: list[Bad] = []
    for batch in read_csv(path, dialect, SCHEMA, batch_bytes=batch_bytes):
        assert batch.frame.schema == {"_row": pl.Int64, "class": pl.String, "width": pl.String, "note": pl.String}
        assert batch.malformed.schema == {"_row": pl.Int64, "reason": pl.String, "text": pl.String}
        good += batch.frame.rows()
        bad += batch.malformed.rows()
    assert [row[0] for row in good] == sorted(row[0] for row in good)
    assert sorted([*(row[0] for row in good), *(row[0] for row in bad)]) == list(range(len(good) + len(bad)))
    return good, bad


def read_rows(tmp_path: Path, rows: bytes, *, batch_bytes: int = 1 << 20) -> tuple[list[Row], list[Bad]]:
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER + rows)
    return read(path, batch_bytes=batch_bytes)


SIZES = pytest.mark.parametrize("batch_bytes", [4, 1 << 20])


@SIZES
def test_clean_rows(batch_bytes: int, tmp_path: Path) -> None:
    good, bad = read_rows(tmp_path, b"e;1.5;n\np;;\n;; x \n", batch_bytes=batch_bytes)
    assert good == [(0, "e", "1.5", "n"), (1, "p", None, None), (2, None, None, " x ")]
    assert bad == []


def test_columns_come_in_the_schemas_order_without_ignored_ones(tmp_path: Path) -> None:
    schema = SCHEMA.model_copy(update={"extra_columns": "ignore"})
    path = tmp_path / "t.csv"
    path.write_bytes(b'x;note;class;width;x\n1;n;e;2;3\n1;"n";e;2;3\n1;n;e\n')
    dialect = CsvDialect(";", "utf-8", header=True, newline="\n")
    (batch,) = read_csv(path, dialect, schema, batch_bytes=1 << 20)
    assert batch.frame.columns == ["_row", "class", "width", "note"]
    assert batch.frame.rows() == [(0, "e", "2", "n"), (1, "e", "2", "n")]
    assert batch.malformed.rows() == [(2, "3 fields instead of 5", "1;n;e")]


def test_a_table_to_score_keeps_every_column_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id;note;width\n7;n;1\n")
    dialect = CsvDialect(";", "utf-8", header=True, newline="\n")
    (batch,) = read_csv(path, dialect, SCHEMA, batch_bytes=100, labelled=False)
    assert batch.frame.columns == ["_row", "id", "note", "width"]
    assert batch.frame.rows() == [(0, "7", "n", "1")]


def test_a_single_column_may_be_all_there_is(tmp_path: Path) -> None:
    schema = SCHEMA.model_copy(update={"columns": {"note": SCHEMA.columns["note"]}})
    path = tmp_path / "t.csv"
    path.write_bytes(b'note\na\n\n"b"\nc;d\n')
    (batch,) = read_csv(path, CsvDialect(";", "utf-8", header=True, newline="\n"), schema, batch_bytes=100, labelled=False)
    assert batch.frame.rows() == [(0, "a"), (1, "b")]
    assert batch.malformed.rows() == [(2, "2 fields instead of 1", "c;d")]


@SIZES
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"e;1", "2 fields instead of 3"),
        (b"e", "1 field instead of 3"),
        (b"e;1;n;", "4 fields instead of 3"),
        (b"e;\0;n", "holds a NUL byte"),
        (b'e;"\0";n', "holds a NUL byte"),
        (b"e;\xff;n", "holds bytes that are no text in the file's encoding"),
        (b'e;"1;n', "a quote is opened and never closed"),
        (b'e;"1"x;n', "quotes: ';' expected after '\"'"),
        (b'"e";1', "2 fields instead of 3"),
    ],
)
def test_a_malformed_row_is_kept_with_its_reason_and_the_others_are_read(
    line: bytes, reason: str, batch_bytes: int, tmp_path: Path
) -> None:
    good, bad = read_rows(tmp_path, "e;1;é\n".encode() + line + b"\r\np;2;b\n", batch_bytes=batch_bytes)
    assert good == [(0, "e", "1", "é"), (2, "p", "2", "b")]
    assert bad == [(1, reason, line.decode("utf-8", "replace"))]


@SIZES
def test_one_short_and_one_long_row_do_not_make_up_for_each_other(batch_bytes: int, tmp_path: Path) -> None:
    good, bad = read_rows(tmp_path, b"e;1\ne;1;n;x\np;2;b\n", batch_bytes=batch_bytes)
    assert good == [(2, "p", "2", "b")]
    assert [reason for _, reason, _ in bad] == ["2 fields instead of 3", "4 fields instead of 3"]


@SIZES
@pytest.mark.parametrize(("last", "whole"), [(b"p;2;b", True), (b"p;2;", True), (b"p;2", False), (b"p;2;b;", False), (b'p;2;"b', False)])
def test_a_truncated_last_line_is_malformed_where_something_is_missing(last: bytes, whole: bool, batch_bytes: int, tmp_path: Path) -> None:
    good, bad = read_rows(tmp_path, b"e;1;a\n" + last, batch_bytes=batch_bytes)
    assert (len(good), len(bad)) == ((2, 0) if whole else (1, 1))


@SIZES
def test_blank_lines_are_no_rows(batch_bytes: int, tmp_path: Path) -> None:
    good, bad = read_rows(tmp_path, b"\n\r\ne;1;a\r\n\n\np;2;b\n\r\n", batch_bytes=batch_bytes)
    assert [row[0] for row in good] == [0, 1]
    assert bad == []


@SIZES
def test_quotes(batch_bytes: int, tmp_path: Path) -> None:
    rows = b'"e";"1;5";"a ""b"""\n"p";"";"x\ny\r\nz"\ne;2;c\ne;5" wide;n\ne;2;""\n'
    good, bad = read_rows(tmp_path, rows, batch_bytes=batch_bytes)
    assert [row[1:] for row in good] == [
        ("e", "1;5", 'a "b"'),
        ("p", None, "x\ny\r\nz"),
        ("e", "2", "c"),
        ("e", '5" wide', "n"),
        ("e", "2", None),
    ]
    assert bad == []


@SIZES
def test_a_stray_quote_takes_no_other_row_with_it(batch_bytes: int, tmp_path: Path) -> None:
    rows = b'e;"1;a\n' + b"e;1;a\n" * 50 + b'p;"2;b\n' + b'e;"3";c\n'
    good, bad = read_rows(tmp_path, rows, batch_bytes=batch_bytes)
    assert len(good) == 51
    assert [row for row, _, _ in bad] == [0, 51]


@SIZES
def test_carriage_returns_alone_end_lines(batch_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER.replace(b"\n", b"\r") + b'e;1;a\rp;2\r\re;"3\r";"c\n"\rp;4;d')
    good, bad = read(path, batch_bytes=batch_bytes)
    assert good == [(0, "e", "1", "a"), (2, "e", "3\r", "c\n"), (3, "p", "4", "d")]
    assert bad == [(1, "2 fields instead of 3", "p;2")]


@SIZES
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "utf-32"])
def test_encodings(encoding: str, batch_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\n".join([HEADER.strip(), b"e;1;caf\xe9", b'p;2;"\xfc;\n"']).decode("latin-1").encode(encoding))
    good, bad = read(path, batch_bytes=batch_bytes)
    assert good == [(0, "e", "1", "café"), (1, "p", "2", "ü;\n")]
    assert bad == []


@SIZES
def test_bytes_that_are_no_text_in_the_encoding_make_a_malformed_row(batch_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes((HEADER + b"e;1;a\n").decode().encode("utf-16") + b"p\0;\0\x00\xd8;\0n\0\n\0" + "e;2;b".encode("utf-16-le") + b"x")
    good, bad = read(path, batch_bytes=batch_bytes)
    assert [row for row, *_ in good] == [0]
    assert [(row, reason) for row, reason, _ in bad] == [(row, "holds bytes that are no text in the file's encoding") for row in (1, 2)]


def test_the_text_of_a_malformed_row_is_clipped(tmp_path: Path) -> None:
    _, bad = read_rows(tmp_path, "é".encode() * 1000)
    assert bad == [(0, "1 field instead of 3", "é" * 200)]


@pytest.mark.parametrize("batch_bytes", [1 << 16, 4 << 20])
def test_the_longest_line_is_the_same_wherever_chunks_are_cut(batch_bytes: int, tmp_path: Path) -> None:
    longest = b"e;1;" + b"x" * (MAX_LINE - 4)
    quoted = b'e;1;"' + b"\n" * (MAX_LINE - 6) + b'"'
    lines = [b"e;1;a", longest, longest + b"x", b"p;2;b", quoted, b"p;3;c", b'e;1;"' + b"x" * (MAX_LINE - 5) + b'"']
    good, bad = read_rows(tmp_path, b"\n".join([*lines, b""]), batch_bytes=batch_bytes)
    assert [row for row, *_ in good] == [0, 1, 3, 4, 5]
    assert [(row, reason) for row, reason, _ in bad] == [(2, "longer than 1,048,576 bytes"), (6, "longer than 1,048,576 bytes")]


def test_a_line_that_is_too_long_is_found_among_plain_ones(tmp_path: Path) -> None:
    rows = b"e;1;a\n" * 100_000
    good, bad = read_rows(tmp_path, rows + b"e;1;" + b"x" * MAX_LINE + b"\n" + rows, batch_bytes=8 << 20)
    assert (len(good), bad) == (200_000, [(100_000, "longer than 1,048,576 bytes", "e;1;" + "x" * 196)])


def test_what_is_read_line_by_line_is_read_in_pieces(tmp_path: Path) -> None:
    again = 150_000
    good, bad = read_rows(tmp_path, b'e;1;a\np;2\n"q\n";2;b\n\ne;"3;c\n' * again, batch_bytes=16 << 20)
    assert (len(good), len(bad)) == (2 * again, 2 * again)
    assert good[-2:] == [(4 * again - 4, "e", "1", "a"), (4 * again - 2, "q\n", "2", "b")]
    assert bad[-1] == (4 * again - 1, "a quote is opened and never closed", 'e;"3;c')


@pytest.mark.parametrize("end", [b"", b"\np;2;b\n"])
def test_a_line_of_100_mb_is_refused_in_little_memory(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(HEADER + b"e;1;a\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(end)
    tracemalloc.start()
    try:
        good, bad = read(path, batch_bytes=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row for row, *_ in good] == [0, 2][: 1 + bool(end)]
    assert bad == [(1, "longer than 1,048,576 bytes", "x" * 200)]
    assert peak < 30e6


def test_bytes_read_add_up_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER + b"e;1;a\n" * 1000)
    dialect = CsvDialect(";", "utf-8", header=True, newline="\n")
    batches = list(read_csv(path, dialect, SCHEMA, batch_bytes=500))
    assert sum(batch.bytes_read for batch in batches) == path.stat().st_size
    assert len(batches) > 10


FIELD = st.text(st.sampled_from('ab;"\n\r ,é€'), max_size=5)
ROWS = st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=12)


@given(
    rows=ROWS,
    quote_all=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
    batch_bytes=st.sampled_from([4, 17, 64, 1 << 20]),
)
@settings(max_examples=300, deadline=None)
def test_what_the_csv_module_writes_is_read_back(
    rows: list[tuple[str, ...]], quote_all: bool, newline: Newline, encoding: str, batch_bytes: int
) -> None:
    if not quote_all:
        # The module puts no quotes around newlines of another kind than its own: nobody could tell them from its own.
        rows = [tuple(re.sub("[\r\n]+", newline, field) for field in row) for row in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator=newline, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(["class", "width", "note"])
    writer.writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.getvalue().encode(encoding))
        good, bad = read(path, CsvDialect(";", encoding, header=True, newline=newline), batch_bytes=batch_bytes)
    assert bad == []
    assert good == [(number, *(field or None for field in row)) for number, row in enumerate(rows)]


PIECES = [b"a", b";", b'"', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xa9", b"e;1;a\n", b'"b";2;"c\n"\n']
MESS = st.lists(st.sampled_from(PIECES), max_size=40)
# What Polars would read without a word, or in another way than the csv module.
ODD = [
    b';;""a""',
    b'""a"";;',
    b';"x"y"";',
    b';"";\n',
    b'\n;"";',
    b'\r;;""',
    b'"a"\r;;',
    b"1;" + b"a" * 20 + b"\xc3;3\n1;\xa9" + b"a" * 20 + b";3",
]


@given(mess=MESS, newline=st.sampled_from(["\n", "\r"]), batch_bytes=st.sampled_from([4, 7, 32]))
@settings(max_examples=600, deadline=None)
def test_nothing_depends_on_where_chunks_are_cut(mess: list[bytes], newline: Newline, batch_bytes: int) -> None:
    dialect = CsvDialect(";", "utf-8", header=True, newline=newline)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(HEADER.replace(b"\n", newline.encode()) + b"".join(mess))
        assert read(path, dialect, batch_bytes=batch_bytes) == read(path, dialect, batch_bytes=1 << 20)


@pytest.mark.parametrize("newline", [b"\n", b"\r"])
@pytest.mark.parametrize("odd", ODD)
def test_the_fast_way_leaves_what_is_odd_alone(odd: bytes, newline: bytes) -> None:
    assert_that_the_ways_agree(b"e;1;n" + newline + odd + newline, newline)


@given(mess=MESS, newline=st.sampled_from([b"\n", b"\r"]))
@settings(max_examples=600, deadline=None)
def test_the_fast_and_the_careful_way_agree(mess: list[bytes], newline: bytes) -> None:
    assert_that_the_ways_agree(b"".join(mess) + newline, newline)


def assert_that_the_ways_agree(buffer: bytes, newline: bytes) -> None:
    """What the fast way reads, the careful way reads alike."""
    columns = ("class", "width", "note")
    for vocabulary in ({}, {"class": ("e", "b", "a"), "note": ("a",)}):
        assert_that_the_ways_of_a_layout_agree(buffer, csv_reader._Layout(b";", newline, columns, columns, vocabulary))


def assert_that_the_ways_of_a_layout_agree(buffer: bytes, layout: csv_reader._Layout) -> None:
    fast = csv_reader._parse_clean(buffer, layout)
    if fast is not None:
        careful = csv_reader._parse_carefully(buffer[: fast.used], layout, final=True)
        assert careful.malformed == []
        assert (careful.count, careful.used, careful.rows.tolist()) == (fast.count, fast.used, fast.rows.tolist())
        assert careful.frame.rows() == fast.frame.rows()


VOCABULARY = {"class": ("p", "e"), "note": ("x", "ä", "y z"), "other": ("q",)}
CELL = st.sampled_from(["", "p", "e", "x", "ä", "y z"])


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=12),
    odd=st.none() | st.tuples(st.integers(0, 11), st.sampled_from(["p;1;x ", "E;1;x", "e;1;nan", 'e;1;"x"', "e;1", "e;1;x;", "e;1;\0"])),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    batch_bytes=st.sampled_from([17, 64, 1 << 20]),
)
@settings(max_examples=300, deadline=None)
def test_a_vocabulary_changes_the_type_of_a_column_and_nothing_that_it_says(
    rows: list[tuple[str, str, str]], odd: tuple[int, str] | None, newline: Newline, batch_bytes: int
) -> None:
    lines = [";".join(row) for row in rows]
    if odd is not None:
        lines.insert(*odd)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(newline.join(["class;width;note", *lines, ""]).encode())
        dialect = CsvDialect(";", "utf-8", header=True, newline=newline)
        plain = list(read_csv(path, dialect, SCHEMA, batch_bytes=batch_bytes))
        coded = list(read_csv(path, dialect, SCHEMA, batch_bytes=batch_bytes, vocabulary=VOCABULARY))
    assert [batch.frame.rows() for batch in coded] == [batch.frame.rows() for batch in plain]
    assert [batch.malformed.rows() for batch in coded] == [batch.malformed.rows() for batch in plain]
    for batch in coded:
        assert batch.frame.schema["width"] == pl.String
        assert all(batch.frame.schema[name] in (pl.String, pl.Enum(VOCABULARY[name])) for name in ("class", "note"))


def test_a_column_with_values_of_the_vocabulary_alone_is_read_as_its_codes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER + b"e;1;x\np;;\n")
    dialect = CsvDialect(";", "utf-8", header=True, newline="\n")
    (batch,) = read_csv(path, dialect, SCHEMA, batch_bytes=1 << 20, vocabulary=VOCABULARY)
    assert batch.frame["class"].dtype == pl.Enum(["p", "e"])
    assert batch.frame["class"].to_physical().to_list() == [1, 0]
    assert batch.frame["note"].dtype == pl.Enum(["x", "ä", "y z"])
    assert batch.frame["note"].to_list() == ["x", None]


def test_the_real_table_has_no_malformed_row(real_data: Path, raw_config: dict[str, object]) -> None:
    schema = DatasetSchema.model_validate(raw_config["dataset"])
    dialect = detect(real_data, CsvSettings(), schema, scan(real_data, SilentProgress()), where="t")
    batches = list(read_csv(real_data, dialect, schema, batch_bytes=1 << 20))
    assert sum(batch.malformed.height for batch in batches) == 0
    frame = pl.concat([batch.frame for batch in batches])
    assert frame["_row"].to_list() == list(range(61_069))
    whole = pl.read_csv(real_data, separator=";", infer_schema=False).select(schema.table_columns)
    assert frame.drop("_row").equals(whole)
    coded = pl.concat([batch.frame for batch in read_csv(real_data, dialect, schema, batch_bytes=1 << 20, vocabulary=schema.vocabulary)])
    assert {name for name, dtype in coded.schema.items() if dtype == pl.Enum} == set(schema.vocabulary)
    assert coded.with_columns(pl.col(pl.Enum).cast(pl.String)).equals(frame)

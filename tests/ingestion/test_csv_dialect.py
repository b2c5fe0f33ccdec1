"""The dialect of a CSV file: what is detected, what is refused, and what the message says."""

import hashlib
from pathlib import Path

import pytest

from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError
from sporeprint.ingestion.csv_dialect import CsvDialect, detect, match_columns
from sporeprint.ingestion.file_scan import scan
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings

TEXT = "class;width;colour;note\ne;1.5;n;a\np;2;b;\n"


@pytest.fixture
def schema() -> DatasetSchema:
    return DatasetSchema.model_validate(
        {
            "name": "tiny",
            "target": {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}},
            "columns": {"width": {"kind": "numeric"}, "colour": {"kind": "nominal"}, "note": {"kind": "nominal"}},
        }
    )


def detected(path: Path, content: bytes, schema: DatasetSchema, chosen: CsvSettings | None = None, *, labelled: bool = True) -> CsvDialect:
    path.write_bytes(content)
    return detect(path, chosen or CsvSettings(), schema, scan(path, SilentProgress()), where="the table", labelled=labelled)


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_the_separator_is_the_one_that_brings_out_the_columns(separator: str, tmp_path: Path, schema: DatasetSchema) -> None:
    # More commas than anything else: counting alone would be wrong.
    content = TEXT.replace(";", separator).replace("note", '"note"').replace("a\n", '"a,,;;||,,"\n')
    assert detected(tmp_path / "t.csv", content.encode(), schema).separator == separator


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_without_a_header_the_separator_is_the_one_whose_rows_fit(separator: str, tmp_path: Path, schema: DatasetSchema) -> None:
    rows = TEXT.split("\n", 1)[1].replace(";", separator)
    assert detected(tmp_path / "t.csv", rows.encode(), schema, CsvSettings(header=False)).separator == separator


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (TEXT.replace("a", "é").encode().replace("clé".encode(), b"cla"), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        (TEXT.encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("utf-32"), "utf-32"),
        (TEXT.replace(";n;", ";é;").encode("latin-1"), "latin-1"),
        (TEXT.replace(";n;", ";€;").encode("cp1252"), "cp1252"),
    ],
)
def test_encodings(content: bytes, encoding: str, tmp_path: Path, schema: DatasetSchema) -> None:
    assert detected(tmp_path / "t.csv", content, schema).encoding == encoding


@pytest.mark.parametrize("block_bytes", [3, 4 << 20])
def test_one_bad_byte_in_utf8_text_is_a_bad_row_and_not_another_encoding(block_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("e;é;n\n".encode() + b"e;1;\xff;\n")
    assert scan(path, SilentProgress(), block_bytes=block_bytes).utf8
    path.write_bytes(b"e;1;\xff;\n" + "e;é;n\n".encode())
    assert not scan(path, SilentProgress(), block_bytes=block_bytes).utf8


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines(newline: str, tmp_path: Path, schema: DatasetSchema) -> None:
    assert detected(tmp_path / "t.csv", TEXT.replace("\n", newline).encode(), schema).newline == newline


def test_newlines_inside_quotes_do_not_count(tmp_path: Path, schema: DatasetSchema) -> None:
    content = TEXT.replace("\n", "\r").replace(";a\r", ';"1\n2"\r')
    assert detected(tmp_path / "t.csv", content.encode(), schema).newline == "\r"


def test_set_values_are_taken_as_they_are(tmp_path: Path, schema: DatasetSchema) -> None:
    chosen = CsvSettings(separator=":", encoding="cp1252")
    content = TEXT.replace(";", ":").encode()
    assert detected(tmp_path / "t.csv", content, schema, chosen) == CsvDialect(":", "cp1252", header=True, newline="\n")


def test_another_encoding_than_the_set_one_is_refused(tmp_path: Path, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=r"t\.csv cannot be read as utf-16: .*BOM.*; set source\.csv\.encoding"):
        detected(tmp_path / "t.csv", TEXT.encode(), schema, CsvSettings(encoding="utf-16"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \r\n", "the table is empty; it must hold a header and rows"),
        ("class;width;colour;note\n\n", "the table has a header and no rows"),
        ("class:width:colour:note\ne:1:n:a\n", r"the header has one field, 'class:width:colour:note'; is the separator another one\?"),
        (
            "class;width;colour\ne;1;n\n",
            r"read with the separator ';': the columns are not those of the dataset 'tiny'\n  missing: 'note'\n"
            r"  the table has: 'class', 'width', 'colour'$",
        ),
        ("width;colour;note\n1;n;a\n", r"  missing: 'class' \(the target\)"),
        (
            "class;width;color;note\n",
            r"missing: 'colour'\n  not in the dataset: 'color' \(did you mean 'colour'\?\)\n  rename or remove it",
        ),
        ("class;width;colour;note;more\n", r"  not in the dataset: 'more'\n.* or set dataset\.extra_columns: ignore"),
        ("class;width;colour;note;width\n", "the column 'width' is there 2 times; keep one"),
        (
            "e;1;n;a\np;2;b;c\n",
            r"no line of the first 100 names a column of the dataset; .* set source\.csv\.header: false",
        ),
        ("c" * (3 << 20), r"the first line is longer than 1,048,576 bytes; is it a CSV file\?"),
        ("class\rwidth;colour\n", r"the first line cannot be split into fields: .*; is it a CSV file\?"),
    ],
)
def test_what_is_wrong_with_the_header_is_said(content: str, message: str, tmp_path: Path, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=message):
        detected(tmp_path / "t.csv", content.encode(), schema)


def test_a_wrong_set_separator_is_named(tmp_path: Path, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=r"read with the separator ',': the header has one field.* Set source\.csv\.separator \(';', "):
        detected(tmp_path / "t.csv", TEXT.encode(), schema, CsvSettings(separator=","))


def test_without_a_header_the_number_of_fields_must_fit(tmp_path: Path, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=r"without a header: the first row has 3 fields, the dataset has 4 columns; check source\.csv"):
        detected(tmp_path / "t.csv", b"e;1;n\n", schema, CsvSettings(header=False))


def test_a_table_to_score_needs_no_target(tmp_path: Path, schema: DatasetSchema) -> None:
    content = b"width;colour;note\n1;n;a\n"
    assert detected(tmp_path / "t.csv", content, schema, labelled=False).separator == ";"
    assert detected(tmp_path / "t.csv", b"1;n;a\n", schema, CsvSettings(header=False), labelled=False).separator == ";"


def test_a_table_to_score_may_have_any_other_column(schema: DatasetSchema) -> None:
    assert match_columns(("id", "note", "width", "colour"), schema, "t", labelled=False) == ("id", "note", "width", "colour")
    named = ("prediction", "row", "note", "width", "colour")
    assert match_columns(named, schema, "t", labelled=False) == named
    # Without a name of its own a column cannot be told from others; one that is needed is.
    twice = ("", "id", "id", "note", "width", "colour")
    assert match_columns(twice, schema, "t", labelled=False) == (None, None, None, "note", "width", "colour")
    with pytest.raises(DataError, match="the column 'width' is there 2 times; keep one"):
        match_columns(("width", "note", "width", "colour"), schema, "t", labelled=False)


def test_ignored_columns(schema: DatasetSchema) -> None:
    lax = schema.model_copy(update={"extra_columns": "ignore"})
    assert match_columns(("", "class", "x", "width", "x", "colour", "note"), lax, "t") == (
        None,
        "class",
        None,
        "width",
        None,
        "colour",
        "note",
    )


@pytest.mark.parametrize("block_bytes", [3, 4 << 20])
def test_one_pass_finds_size_hash_and_lines(block_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("a;é\nb;€\nc;d".encode())
    found = scan(path, SilentProgress(), block_bytes=block_bytes)
    assert (found.size, found.lines, found.utf8, found.high_control) == (14, 3, True, True)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "lines"), [(b"", 0), (b"a;b\n", 1), (b"a;b\n\nc;d\n", None), (b"a;b\r\n\r\n", None), (b'a;"b"\n', None)]
)
def test_lines_are_counted_only_where_a_line_is_a_row(content: bytes, lines: int | None, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert scan(path, SilentProgress()).lines == lines

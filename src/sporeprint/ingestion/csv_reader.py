"""The rows of a CSV file in batches, whatever it holds.

A chunk of clean lines goes through Polars as it is, after checks that cost a tenth of the parse: Polars fills short rows
up without a word. A chunk with anything unusual in it is split line by line instead, by the same rules, so that only the
rows that cannot be split are lost, each with its number, a reason and its text.

By hand, because PyArrow gives up the file at an unclosed quote or a byte that is not UTF-8, and DuckDB names a short row several times.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.ingestion.csv_dialect import (
    MAX_LINE,
    MAX_TEXT,
    CsvDialect,
    blocks,
    decoded_lines,
    end_of,
    header_columns,
    read_head,
    split_fields,
)
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.schema import DatasetSchema

LF, CR, QUOTE = 0x0A, 0x0D, 0x22
#: Bytes that are taken line by line at a time, longer than any row: after them the fast way is tried again, and if all are
#: malformed, there are not too many to hold.
PIECE = 2 * MAX_LINE

Types = dict[str, pl.DataType | type[pl.DataType]]
Vocabulary = Mapping[str, tuple[str, ...]]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """How bytes of UTF-8 become fields."""

    separator: bytes
    newline: bytes
    columns: tuple[str | None, ...]
    order: tuple[str, ...]
    vocabulary: Vocabulary

    @property
    def texts(self) -> Types:
        """The type of every field of the file, which is text; fields that nobody wants get a name that no column has."""
        return {name or f"\0{number}": pl.String for number, name in enumerate(self.columns)}

    @property
    def codes(self) -> Types:
        """The same, with the columns of the vocabulary as its values."""
        return {**self.texts, **{name: pl.Enum(values) for name, values in self.vocabulary.items() if name in self.columns}}


@dataclass(frozen=True, slots=True)
class _Malformed:
    row: int
    reason: str
    line: bytes


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The rows at the beginning of a buffer.

    Attributes:
        frame: the wanted columns of the good rows, String.
        rows: int64, the number of each of them among the rows of the buffer.
        malformed: the others.
        count: good and malformed rows.
        used: bytes of the buffer they take; the rest needs what comes after it.
    """

    frame: pl.DataFrame
    rows: npt.NDArray[np.int64]
    malformed: list[_Malformed]
    count: int
    used: int


def read_csv(
    path: Path,
    dialect: CsvDialect,
    schema: DatasetSchema,
    *,
    batch_bytes: int,
    labelled: bool = True,
    part: tuple[int, int | None] = (0, None),
    vocabulary: Vocabulary | None = None,
) -> Iterator[Batch]:
    """Read a CSV file batch by batch; memory is bounded by `batch_bytes` and `MAX_LINE`, whatever the file holds.

    Args:
        path: the file.
        dialect: how it is written.
        schema: the contract.
        batch_bytes: bytes read at a time.
        labelled: as in `match_columns`.
        part: which bytes are read: from the beginning of a line up to that of another (None: up to the end).
        vocabulary: columns that are read as Enum in batches in which they hold these values alone; the others are String.

    Raises:
        DataError: if the header does not fit the schema.
        OSError: if the file cannot be read.
    """
    columns, skip = header_columns(read_head(path, dialect.encoding), dialect, schema, str(path), labelled=labelled)
    layout = _Layout(
        separator=dialect.separator.encode(),
        newline=end_of(dialect.newline),
        columns=columns,
        order=tuple(name for name in (schema.table_columns if labelled else columns) if name in columns and name is not None),
        vocabulary=vocabulary or {},
    )
    row, unsaid = 0, 0
    read = blocks(path, dialect.encoding, batch_bytes, part)
    for parsed, size in _parse_all(read if part[0] else _without_header(read, skip), layout):
        unsaid += size
        if parsed.count:
            yield _batch(parsed, row, unsaid)
            row, unsaid = row + parsed.count, 0


def _without_header(blocks: Iterator[tuple[bytes, int]], skip: int) -> Iterator[tuple[bytes, int]]:
    for block, size in blocks:
        yield block[skip:], size
        skip = max(0, skip - len(block))


def _parse_all(blocks: Iterator[tuple[bytes, int]], layout: _Layout) -> Iterator[tuple[_Parsed, int]]:
    """Everything in the blocks, with the file's bytes each part took. What a block leaves over is put before the next one."""
    carry, in_long_line = b"", False
    for block, size in blocks:
        if in_long_line:
            _, ended, block = block.partition(layout.newline)
            in_long_line = not ended
        carry += block
        while True:
            parsed = _parse(carry, layout, final=False)
            carry = carry[parsed.used :]
            yield parsed, size
            size = 0
            if not parsed.used or layout.newline not in carry:
                break
        if len(carry) > MAX_LINE and layout.newline not in carry:
            yield _one_malformed(_Malformed(0, _TOO_LONG, carry), layout), 0
            carry, in_long_line = b"", True
    carry += b"" if carry.endswith(layout.newline) else layout.newline
    while carry:
        parsed = _parse(carry, layout, final=True)
        carry = carry[parsed.used :]
        yield parsed, 0


def _parse(buffer: bytes, layout: _Layout, *, final: bool) -> _Parsed:
    return _parse_clean(buffer, layout) or _parse_carefully(buffer, layout, final=final)


def _batch(parsed: _Parsed, first_row: int, bytes_read: int) -> Batch:
    frame = parsed.frame.insert_column(0, pl.Series("_row", parsed.rows + first_row, dtype=pl.Int64))
    malformed = malformed_rows(
        rows=[first_row + bad.row for bad in parsed.malformed],
        reasons=[bad.reason for bad in parsed.malformed],
        texts=[bad.line[: 4 * MAX_TEXT].decode("utf-8", "replace").rstrip("\r\n")[:MAX_TEXT] for bad in parsed.malformed],
    )
    return Batch(frame=frame, malformed=malformed, bytes_read=bytes_read)


# --- the fast way ----------------------------------------------------------------------------------------------------


def _parse_clean(buffer: bytes, layout: _Layout) -> _Parsed | None:
    """The whole lines of a buffer, or None where anything about them is unusual."""
    if len(layout.columns) == 1:
        return None  # a blank line would pass for a row
    extent = _quoted_extent(buffer, layout) if b'"' in buffer else _plain_extent(buffer, layout)
    if extent is None:
        return None
    # Polars refuses a row that is too long, and bytes that are no UTF-8: if the separators add up, no row is too short
    # either, and none is blank.
    body = buffer[: extent.end]
    if extent.separators != extent.rows * (len(layout.columns) - 1) or b"\0" in body:
        return None
    frame = _coded(body, layout)
    if frame is None or frame.height != extent.rows:
        return None
    return _Parsed(frame, np.arange(extent.rows, dtype=np.int64), [], extent.rows, extent.end)


def _coded(body: bytes, layout: _Layout) -> pl.DataFrame | None:
    """The rows, with the vocabulary's columns as codes where all are values of it; None where they cannot be read."""
    # A value becomes its code as it is read, which costs nothing, and takes a byte instead of sixteen.
    for types in (layout.codes, layout.texts) if layout.vocabulary and b'"' not in body else (layout.texts,):
        with suppress(pl.exceptions.PolarsError):
            return _frame(body, layout, types)
    return None


@dataclass(frozen=True, slots=True)
class _Extent:
    """The whole rows at the beginning of a buffer: where they end, how many there are, and their separators."""

    end: int
    rows: int
    separators: int


def _plain_extent(buffer: bytes, layout: _Layout) -> _Extent | None:
    """The extent of text without quotes, or None where it has no whole line, or one that is too long."""
    end = buffer.rfind(layout.newline) + 1
    half = MAX_LINE // 2  # a line that is too long fills at least one such window
    if not end or any(buffer.find(layout.newline, start, start + half) < 0 for start in range(0, end - half, half)):
        return None
    data = np.frombuffer(buffer, np.uint8, count=end)
    return _Extent(end, _count(data, layout.newline), _count(data, layout.separator))


def _count(data: Bytes, byte: bytes) -> int:
    # In windows that stay in the cache: twice as fast as bytes.count.
    window = 1 << 18
    return sum(int(np.count_nonzero(data[start : start + window] == byte[0])) for start in range(0, len(data), window))


def _quoted_extent(buffer: bytes, layout: _Layout) -> _Extent | None:
    """The extent of text with quotes, or None where they are used in any other way than RFC 4180 has it."""
    data = np.frombuffer(buffer, np.uint8)
    outside = _outside_quotes(data, layout)
    if outside is None:
        return None
    ends = np.flatnonzero((data == layout.newline[0]) & outside)
    if not len(ends) or np.diff(ends, prepend=-1).max() > MAX_LINE:
        return None
    end = int(ends[-1]) + 1
    # Beside quotes, a newline of another kind is an error.
    if (data[:end] == LF).any() if layout.newline == b"\r" else buffer.count(b"\r", 0, end) != buffer.count(b"\r\n", 0, end):
        return None
    return _Extent(end, len(ends), int(np.count_nonzero((data[:end] == layout.separator[0]) & outside[:end])))


def _outside_quotes(data: Bytes, layout: _Layout) -> Mask | None:
    """Which bytes are outside quotes, or None where a quote stands anywhere but around a field or doubled inside one."""
    quotes = data == QUOTE
    places = np.flatnonzero(quotes)
    opening, closing = places[0::2], places[1::2]
    before = np.where(opening > 0, data[opening - 1], layout.newline[0])
    after = np.where(closing + 1 < len(data), data[np.minimum(closing + 1, len(data) - 1)], layout.newline[0])
    around = [layout.separator[0], layout.newline[0], QUOTE]
    if not np.isin(before, around).all() or not np.isin(after, [*around, CR]).all():
        return None
    inside: Mask = np.logical_xor.accumulate(quotes)
    return ~inside


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _frame(body: bytes, layout: _Layout, types: Types) -> pl.DataFrame:
    """Well-formed lines, as some of their columns.

    Raises:
        PolarsError: a value is none of its type.
    """
    frame = pl.read_csv(body, separator=layout.separator.decode(), has_header=False, schema=types, eol_char=layout.newline.decode()).select(
        layout.order
    )
    return _nulls(frame) if b'"' in body else frame


def _nulls(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in frame.columns)


# --- the careful way -------------------------------------------------------------------------------------------------

_TOO_LONG = f"longer than {MAX_LINE:,} bytes"


def _parse_carefully(buffer: bytes, layout: _Layout, *, final: bool) -> _Parsed:
    """The first rows of a buffer, line by line. A quote that spans lines is believed only when the row it makes is well-formed."""
    end = buffer.find(layout.newline, PIECE) + 1
    if 0 < end < len(buffer):
        buffer, final = buffer[:end], False
    *lines, rest = buffer.split(layout.newline)
    tame = b"\0" not in buffer and _is_utf8(buffer) and max(map(len, lines), default=0) <= MAX_LINE
    plain: dict[int, bytes] = {}
    quoted: dict[int, list[str]] = {}
    malformed: list[_Malformed] = []
    number, row = 0, 0
    while number < len(lines):
        line, taken = lines[number], 1
        if not line or line == b"\r":
            number += 1
            continue
        fault = None if tame and line.count(layout.separator) == len(layout.columns) - 1 else _fault(line, layout)
        if fault is None and b'"' not in line:
            plain[row] = line
        else:
            problem = fault or _quoted_row(lines, number, layout, rest=None if final else len(rest))
            if problem is None:
                break
            if isinstance(problem, str):
                malformed.append(_Malformed(row, problem, line))
            else:
                quoted[row], taken = problem
        number, row = number + taken, row + 1
    frame, rows = _assemble(plain, quoted, layout)
    unused = sum(len(line) + 1 for line in lines[number:]) + len(rest)
    return _Parsed(frame, rows, malformed, row, len(buffer) - unused)


def _fault(line: bytes, layout: _Layout) -> str | None:
    """Why a line cannot be a row; a line with quotes is only looked at from outside."""
    if len(line) > MAX_LINE:
        return _TOO_LONG
    if b"\0" in line:
        return "holds a NUL byte"
    if not _is_utf8(line):
        return "holds bytes that are no text in the file's encoding"
    return None if b'"' in line else _wrong_count(line.count(layout.separator) + 1, layout)


def _wrong_count(fields: int, layout: _Layout) -> str | None:
    expected = len(layout.columns)
    return None if fields == expected else f"{fields} field{'s' * (fields != 1)} instead of {expected}"


def _quoted_row(lines: list[bytes], number: int, layout: _Layout, *, rest: int | None) -> tuple[list[str], int] | str | None:
    """The row with quotes that begins at a line: its fields and lines; or why it is none; or None where more text is needed.

    Args:
        lines: whole lines, without their newlines.
        number: where the row begins.
        layout: how bytes become fields.
        rest: bytes known of the line after these, of which more may come; None where nothing does.
    """
    sizes: list[int] = []
    text = decoded_lines(lines, number, layout.newline, sizes)
    try:
        fields = next(split_fields(text, layout.separator.decode(), strict=True))
    except UnicodeDecodeError:
        return "a quote is opened and not closed before bytes that are no text"
    except csv.Error as error:
        if "unexpected end of data" not in str(error):
            return f"quotes: {error}"
        hopeful = rest is not None and number + len(sizes) == len(lines) and sum(sizes) + rest <= MAX_LINE
        return None if hopeful else "a quote is opened and never closed"
    if any("\0" in field for field in fields):
        return "holds a NUL byte"
    return _wrong_count(len(fields), layout) or (fields, len(sizes))


def _assemble(plain: dict[int, bytes], quoted: dict[int, list[str]], layout: _Layout) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
    """Plain lines and split rows in one frame, in the file's order, with their numbers."""
    frame = pl.DataFrame(schema=dict.fromkeys(layout.order, pl.String))
    if plain:
        frame = _frame(layout.newline.join(plain.values()) + layout.newline, layout, layout.texts)
    rows = np.fromiter((*plain, *quoted), np.int64, len(plain) + len(quoted))
    if quoted:
        split = pl.DataFrame(list(quoted.values()), schema=layout.texts, orient="row")
        order = np.argsort(rows)
        frame, rows = pl.concat([frame, _nulls(split.select(layout.order))])[order], rows[order]
    return frame, rows


def _one_malformed(bad: _Malformed, layout: _Layout) -> _Parsed:
    return _Parsed(pl.DataFrame(schema=dict.fromkeys(layout.order, pl.String)), np.empty(0, np.int64), [bad], 1, 0)

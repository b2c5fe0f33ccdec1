"""A sample of a table that nothing is known of yet: how the file is written, the names of its columns, and some of its rows as text."""

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from sporeprint.errors import DataError
from sporeprint.ingestion.csv_dialect import BOMS, MAX_LINE, likely_script, split_fields, wide_encoding
from sporeprint.ingestion.file_formats import kind_of
from sporeprint.schema import MISSING_NUMBERS, NUMBER

SEPARATORS = (",", ";", "\t", "|", " ")
#: Bytes of a long file that are read: so many places, evenly over the file, so many bytes at each.
PLACES, BLOCK = 12, 1 << 20
#: Lines from which the form of a file is taken.
FIRST_LINES = 200
#: One more than the lines that a quoted value of them may have.
QUOTED_LINES = 10
#: Longest line from which anything is taken, and most columns.
MOST_COLUMNS = 20_000
#: Rows of a Parquet file that are read.
ROWS = 200_000


@dataclass(frozen=True)
class TableSample:
    """A sample of a table.

    Attributes:
        names: the columns' names in the file's order; empty where a column has none.
        frame: the rows of the sample as text, an empty text as null; the columns are named by their places, "0" on.
        rows: rows of the whole table, as far as they can be told from the sample.
        is_whole: whether the sample holds all rows.
        format: csv or parquet.
        separator: of CSV; None for Parquet.
        encoding: of CSV; None for Parquet.
        encoding_guessed: whether the encoding is only the likeliest of several.
        header: whether a line holds the column names.
        skipped: lines before that line.
        foreign: column -> what it holds, where that is neither text, number, date nor truth.
    """

    names: tuple[str, ...]
    frame: pl.DataFrame
    rows: int
    is_whole: bool
    format: str
    separator: str | None = None
    encoding: str | None = None
    encoding_guessed: bool = False
    header: bool = True
    skipped: int = 0
    foreign: Mapping[str, str] = field(default_factory=dict)


def read_sample(path: Path, where: str) -> TableSample:
    """Read a sample of a local CSV or Parquet file.

    Raises:
        DataError: it is no table, is empty, or has too many columns.
    """
    return _parquet(path, where) if kind_of(path, where) == "parquet" else _csv(path, where)


def _parquet(path: Path, where: str) -> TableSample:
    try:
        table = pl.scan_parquet(path, glob=False)
        names, rows = tuple(table.collect_schema().names()), int(table.select(pl.len()).collect().item())
        step = max(1, -(-rows // ROWS))
        frame = table.gather_every(step).collect()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where} is damaged or no Parquet file: {str(error).partition(chr(10))[0]}") from error
    if not rows:
        raise DataError(f"{where} holds no rows")
    return TableSample(names, _texts(frame), rows, step == 1, "parquet", foreign=_foreign(frame))


def sample_of_frame(frame: pl.DataFrame) -> TableSample:
    """A frame in memory as a sample.

    Raises:
        DataError: it has no rows.
    """
    if not frame.height:
        raise DataError("the frame holds no rows")
    step = max(1, -(-frame.height // ROWS))
    sampled = _texts(frame.gather_every(step))
    return TableSample(tuple(frame.columns), sampled, frame.height, step == 1, "parquet", foreign=_foreign(frame))


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([_as_text(frame[name]).alias(str(place)) for place, name in enumerate(frame.columns)])


def _foreign(frame: pl.DataFrame) -> dict[str, str]:
    return {name: words for name, kind in frame.schema.items() if (words := _foreign_words(kind)) is not None}


def _foreign_words(kind: pl.DataType) -> str | None:
    return "durations" if kind == pl.Duration else "lists or records" if kind.is_nested() or kind == pl.Object else None


def _as_text(series: pl.Series) -> pl.Series:
    if _foreign_words(series.dtype) is not None:
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    if series.dtype.is_float():
        series = series.fill_nan(None)
        if series.drop_nulls().is_finite().all() and (series.drop_nulls() == series.drop_nulls().floor()).all():
            series = series.cast(pl.Int64, strict=False)
    text = series.cast(pl.Binary).cast(pl.String, strict=False) if series.dtype == pl.Binary else series.cast(pl.String)
    return text.str.strip_chars().replace("", None)


def _csv(path: Path, where: str) -> TableSample:
    size = path.stat().st_size
    blocks = _blocks(path, size)
    encoding, guessed = _encoding(blocks[0], b"".join(blocks))
    texts = [block.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n") for block in blocks]
    texts[0] = texts[0].removeprefix("\ufeff")
    lines = _records(texts[0].split("\n"))
    if max(map(len, lines[:FIRST_LINES])) > MAX_LINE:
        raise DataError(f"{where}: the first lines are longer than {MAX_LINE:,} characters; is it a CSV file?")
    separator, width = _separator(lines, where)
    skipped, header, names = _header(lines, separator, width)
    # A sample from the middle of a file begins and ends within a row, and perhaps within quotes: only rows of the right width count.
    start = skipped + header
    whole = len(blocks) == 1
    lines = lines if whole else lines[:-1]
    pieces = ["\n".join(lines[start:]), *(text.partition("\n")[2].rpartition("\n")[0] for text in texts[1:])]
    frame = _frame("\n".join(piece.strip("\n") for piece in pieces if piece.strip()), separator, width)
    if not frame.height:
        raise DataError(f"{where} has a header and no rows")
    used = sum(len(piece) for piece in pieces)
    return TableSample(
        names=names,
        frame=frame,
        rows=frame.height if whole else round(frame.height * size / max(used, 1)),
        is_whole=whole,
        format="csv",
        separator=separator,
        encoding=encoding,
        encoding_guessed=guessed,
        header=header,
        skipped=skipped,
    )


def _records(lines: list[str]) -> list[str]:
    """Lines, where the first ones that are within quotes are put together: names of columns, too, may have two lines."""
    records, place = [], 0
    while place < min(len(lines), FIRST_LINES):
        size = next((size for size in range(1, QUOTED_LINES) if "\n".join(lines[place : place + size]).count('"') % 2 == 0), 1)
        records.append("\n".join(lines[place : place + size]))
        place += size
    return [*records, *lines[place:]]


def _blocks(path: Path, size: int) -> list[bytes]:
    with path.open("rb") as file:
        if size <= PLACES * BLOCK:
            return [file.read()]
        blocks = []
        for place in range(PLACES):
            file.seek((size - BLOCK) * place // (PLACES - 1) // 4 * 4)
            blocks.append(file.read(BLOCK))
        return blocks


def _encoding(head: bytes, text: bytes) -> tuple[str, bool]:
    """The likeliest encoding, and whether it is only that."""
    for mark, encoding in BOMS.items():
        if head.startswith(mark):
            return encoding, False
    if wide := wide_encoding(head[:4096]):
        return wide, False
    plain = re.sub(rb"[\x80-\xbf]{1,3}\Z", b"", head)
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(plain) - 4:
            other = likely_script(text)
            return (other or "cp1252"), True
    return "utf-8", False


def _separator(lines: list[str], where: str) -> tuple[str, int]:
    """The separator, and the number of columns: what splits most lines into equally many fields, and more than one."""
    sample = [line for line in lines[:FIRST_LINES] if line.strip()]
    if not sample:
        raise DataError(f"{where} is empty; it must hold rows")
    best, score = (",", 1), 0.0
    for separator in SEPARATORS:
        if separator == " " and score:
            break
        counts = Counter(len(row) for row in _rows(sample, separator))
        width, lines_of_it = max(counts.items(), key=lambda item: (item[1] if item[0] > 1 else 0, item[0]))
        fit = lines_of_it / sum(counts.values())
        # Decimal commas split lines, too; but then fewer, or into fewer fields, than what was meant to.
        if width > 1 and fit >= 0.5 and fit + min(width, 1000) / 1000 > score:
            best, score = (separator, width), fit + min(width, 1000) / 1000
    if best[1] > MOST_COLUMNS:
        raise DataError(f"{where} has {best[1]:,} columns; at most {MOST_COLUMNS:,} are read")
    return best


def _rows(lines: list[str], separator: str) -> list[list[str]]:
    try:
        return [[field.strip() for field in row] for row in split_fields(iter([line + "\n" for line in lines]), separator) if row]
    except csv.Error:
        return [[field.strip() for field in line.split(separator)] for line in lines]


def _header(lines: list[str], separator: str, width: int) -> tuple[int, bool, tuple[str, ...]]:
    """Lines before the header, whether there is one, and the columns' names (c1, c2, ... where there is none)."""
    fields = {place: row[0] if (row := _rows([line], separator)) else [] for place, line in enumerate(lines[:FIRST_LINES]) if line.strip()}
    places = [place for place, row in fields.items() if len(row) == width]
    candidates = []
    for place in places[:3]:  # a further header line may stand above the one with the names
        rest = [fields[other] for other in places if other > place]
        if not _is_header(fields[place], rest):
            break
        candidates.append(place)
    if not candidates:
        return (places[0] if places else 0), False, tuple(f"c{number}" for number in range(1, width + 1))
    at = candidates[-1]
    return at, True, tuple(fields[at])


def _is_header(row: list[str], rest: list[list[str]]) -> bool:
    """Whether a row is of names: it holds no number, and, where no column is of numbers, its texts are not those of the rows below."""
    named = [field for field in row if field]
    if not rest:
        return not any(_is_number(field) for field in named)
    numeric = [all(_is_number(other[place]) for other in rest) and any(other[place] for other in rest) for place in range(len(row))]
    if any(field and re.fullmatch(NUMBER, field) for field in row):
        # Years and codes name columns, too, but then of numbers and texts alike, and each but once.
        return False
    if any(numeric):
        return True
    again = sum(bool(field) and field in {other[place] for other in rest} for place, field in enumerate(row))
    return again < 0.3 * max(len(named), 1)


def _is_number(field: str) -> bool:
    return not field or field.lower() in MISSING_NUMBERS or re.fullmatch(NUMBER, field) is not None


def _frame(text: str, separator: str, width: int) -> pl.DataFrame:
    names = [str(place) for place in range(width)]
    schema = dict.fromkeys(names, pl.String)
    try:
        frame = pl.read_csv(text.encode(), separator=separator, has_header=False, schema=schema, truncate_ragged_lines=True)
    except pl.exceptions.PolarsError:  # quotes that are not closed, bytes that are no text
        rows = [row for row in _rows(text.split("\n"), separator) if len(row) == width]
        frame = pl.DataFrame(rows, schema=schema, orient="row")
    stripped = pl.all().str.strip_chars()
    return frame.select(pl.when(stripped != "").then(stripped).name.keep())

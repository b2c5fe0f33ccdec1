"""The rows of a Parquet file in batches, of their own types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sporeprint.common.optional_dependencies import Lazy, has
from sporeprint.errors import DataError
from sporeprint.ingestion.csv_dialect import match_columns
from sporeprint.ingestion.parquet_footer import (
    CHILDREN,
    GROUP_ROWS,
    GROUPS,
    LIST,
    NAME,
    NOTES,
    ROW_COUNT,
    SCHEMA,
    STRUCT,
    DamagedFileError,
    footer_of,
)
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.schema import DatasetSchema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")

#: Rows of a batch, and of the largest row group that is held as a whole.
ROWS, LARGEST = 262_144, 1_048_576
#: Types that become text. A list: types are equal to their classes, but do not hash alike.
TEXTUAL = [pl.Categorical, pl.Enum, pl.Binary, pl.Null]
#: Key of a simulated file's metadata.
SIMULATED = b"sporeprint.simulated"
#: Days from 1970 to the first and after the last day of the calendar, which is that of Python, CSV and databases.
CALENDAR = (-719_162, 2_932_897)
#: Of one day, by the unit of a time.
DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def count_rows(path: Path, schema: DatasetSchema, *, where: str, labelled: bool = True, rows: bool = True) -> int:
    """Rows of a Parquet file whose columns are those of the dataset.

    Args:
        path: the file.
        schema: the contract.
        where: what the file is, for messages.
        labelled: whether the target and the group column must be there.
        rows: whether there must be rows, where they have to be labelled.

    Raises:
        DataError: they are not, or the file is damaged.
    """
    look = _look(path, where)
    _columns(look, schema, where, labelled=labelled)
    if labelled and rows and not look.rows:
        raise DataError(f"{where} holds no rows")
    return look.rows


def is_simulated(path: Path) -> bool:
    """Whether the file says of itself that it was simulated."""
    return _look(path, str(path)).simulated


def read_parquet(path: Path, schema: DatasetSchema, *, labelled: bool = True) -> Iterator[Batch]:
    """Read a Parquet file batch by batch: see `plain_values`; an empty text is null, as is NaN in the dataset's columns.

    Raises:
        DataError: if the file is damaged or its columns are not those of the dataset.
    """
    size = path.stat().st_size
    look = _look(path, str(path))
    names = _columns(look, schema, str(path), labelled=labelled)
    rows, row = look.rows, 0
    with _errors(str(path)):
        for read in _frames(path, look.groups, tuple(names)):
            frame = read.rename(names)
            done, row = row, row + frame.height
            yield Batch(_plain(frame, done, schema, str(path)), malformed_rows(), size * row // rows - size * done // rows)


@dataclass(frozen=True)
class _Look:
    """What a file says of itself: columns, which of them hold what is no plain value, rows, and those of each row group."""

    names: tuple[str, ...]
    nested: Mapping[str, str]
    rows: int
    groups: Sequence[int]
    simulated: bool


def _look(path: Path, where: str) -> _Look:
    with _errors(where):
        return _by_arrow(path) if has("pyarrow") else _by_footer(path)


def _by_arrow(path: Path) -> _Look:
    with pq.ParquetFile(path) as file:
        arrow_schema, about = file.schema_arrow, file.metadata
        nested = {field.name: str(field.type) for field in arrow_schema if pa.types.is_nested(field.type)}
        groups = [about.row_group(group).num_rows for group in range(file.num_row_groups)]
        return _Look(
            tuple(arrow_schema.names), nested, int(about.num_rows), groups, (arrow_schema.metadata or {}).get(SIMULATED) == b"true"
        )


def _by_footer(path: Path) -> _Look:
    with path.open("rb") as file:
        footer, _ = footer_of(file)
    try:
        names, nested = _fields(footer[SCHEMA][1][1])
        groups = [int(group[GROUP_ROWS][1]) for group in footer[GROUPS][1][1]]
        notes = {note[1][1]: note[2][1] for note in footer.get(NOTES, (LIST, (STRUCT, [])))[1][1] if 2 in note}
        return _Look(names, nested, int(footer[ROW_COUNT][1]), groups, notes.get(SIMULATED) == b"true")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFileError(f"its footer lacks what it needs: {error!r}") from error


def _fields(fields: list[Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The columns of a schema, which lists all fields from the root on, each before those within it."""
    names: list[str] = []
    nested: dict[str, str] = {}
    within, field = 0, 1
    while field < len(fields):
        children = int(fields[field].get(CHILDREN, (0, 0))[1])
        if not within:
            names.append(fields[field][NAME][1].decode())
            if children:
                nested[names[-1]] = "a list or structure"
        within = max(0, within - 1) + children
        field += 1
    return tuple(names), nested


@contextmanager
def _errors(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except _damage() as error:
        raise DataError(f"{where} is damaged or no Parquet file: {str(error).partition(chr(10))[0]}") from error


def _damage() -> tuple[type[Exception], ...]:
    return (DamagedFileError, pl.exceptions.PolarsError, OSError, *([pa.ArrowException] if has("pyarrow") else []))


def _columns(look: _Look, schema: DatasetSchema, where: str, *, labelled: bool) -> dict[str, str]:
    """The columns that are read: name in the file -> name in the dataset."""
    matched = match_columns(look.names, schema, where, labelled=labelled)
    # What the dataset does not need is left out where it is no plain value.
    known = {raw: name for raw, name in zip(look.names, matched, strict=True) if name is not None}
    names = {raw: name for raw, name in known.items() if raw not in look.nested or name in schema.table_columns}
    if labelled:
        own = {name: raw for raw, name in names.items()}
        names = {own[name]: name for name in schema.table_columns if name in own}
    for raw in names:
        if raw in look.nested:
            raise DataError(f"{where}: the column {raw!r} holds {look.nested[raw]}; expected one plain value a row")
    return names


def _frames(path: Path, counts: Sequence[int], names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The columns in pieces of at most `ROWS` rows."""
    for groups, first_row, rows in _pieces(counts):
        if rows <= LARGEST:
            # Five times as fast as Arrow, but it holds a whole row group.
            frame = pl.scan_parquet(path, glob=False).select(names).slice(first_row, rows).collect()
            yield from frame.iter_slices(ROWS)
        elif has("pyarrow"):
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(batch_size=ROWS, row_groups=list(groups), columns=list(names)):
                    yield pl.DataFrame(pa.table([part[name] for name in names], names=list(names)))
        else:
            raise DataError(
                f"{path} has a row group of {rows:,} rows, and without pyarrow at most {LARGEST:,} are read at a time; "
                "write it with smaller row groups, or install it with: pip install 'sporeprint[train]'"
            )


def _pieces(counts: Sequence[int]) -> Iterator[tuple[range, int, int]]:
    """Row groups in turn, small ones together, as their numbers, first row and rows."""
    begin, first_row, rows = 0, 0, 0
    for group, count in enumerate(counts):
        if rows and rows + count > LARGEST:
            yield range(begin, group), first_row, rows
            begin, first_row, rows = group, first_row + rows, 0
        rows += count
        if rows >= ROWS:
            yield range(begin, group + 1), first_row, rows
            begin, first_row, rows = group + 1, first_row + rows, 0
    if rows:
        yield range(begin, len(counts)), first_row, rows


def plain_values(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """A frame with dictionaries and bytes as texts.

    Raises:
        DataError: a column holds what is no plain value, bytes that are no text, or times outside the calendar.
    """
    for name, kind in frame.schema.items():
        if kind.is_nested() or kind == pl.Object:
            raise DataError(f"{where}: the column {name!r} holds {kind}; expected one plain value a row")
        if not _is_in_calendar(frame[name]):
            raise DataError(f"{where}: the column {name!r} has a time outside the years 1 to 9999")
    as_text = [name for name, kind in frame.schema.items() if kind in TEXTUAL]
    if not as_text:
        return frame
    try:
        return frame.with_columns(pl.col(as_text).cast(pl.String))
    except pl.exceptions.ComputeError as error:
        names = ", ".join(map(repr, as_text))
        raise DataError(f"{where}: bytes in one of the columns {names} are no text in UTF-8; leave the column out") from error


def _is_in_calendar(column: pl.Series) -> bool:
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        low, high = (day * DAY[kind.time_unit] for day in CALENDAR)
    elif kind == pl.Date:
        low, high = CALENDAR
    elif kind == pl.Time:
        low, high = 0, DAY["ns"]
    else:
        return True
    numbers = column.to_physical()
    first, last = numbers.min(), numbers.max()
    return not isinstance(first, int) or not isinstance(last, int) or (low <= first and last < high)


def _plain(frame: pl.DataFrame, first_row: int, schema: DatasetSchema, where: str) -> pl.DataFrame:
    """A frame of plain values with its row numbers; null where a text is empty, or a number of the dataset is NaN."""
    names = frame.columns
    frame = plain_values(frame, where)
    numbers = [name for name in names if name in schema.columns and frame.schema[name].is_float()]
    texts = [name for name in names if frame.schema[name] == pl.String]
    # An empty text is rare, and asking costs a quarter of making every column anew.
    empty = frame.select((pl.col(name).str.len_bytes() == 0).any() for name in texts) if texts else frame.clear()
    cleaned = [pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in texts if empty[name].any()]
    row = pl.int_range(first_row, first_row + pl.len(), dtype=pl.Int64).alias("_row")
    return frame.with_columns(*cleaned, pl.col(numbers).fill_nan(None), row).select("_row", *names)

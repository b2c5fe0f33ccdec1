"""The rows of a Parquet file in batches, of their own types."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sporeprint.batch import Batch, malformed_rows
from sporeprint.csv_dialect import match_columns
from sporeprint.errors import DataError
from sporeprint.schema import DatasetSchema

#: Rows of a batch, and of the largest row group that is held as a whole.
ROWS, LARGEST = 262_144, 1_048_576
#: Types that become text. A list: types are equal to their classes, but do not hash alike.
TEXTUAL = [pl.Categorical, pl.Enum, pl.Binary, pl.Null]
#: Key of a simulated file's metadata.
SIMULATED = b"sporeprint.simulated"


def count_rows(path: Path, schema: DatasetSchema, *, where: str, labelled: bool = True) -> int:
    """Rows of a Parquet file whose columns are those of the dataset.

    Args:
        path: the file.
        schema: the contract.
        where: what the file is, for messages.
        labelled: whether the target and the group column must be there.

    Raises:
        DataError: they are not, the file is damaged, or has no rows.
    """
    with _opened(path, where) as file:
        _columns(file, schema, where, labelled=labelled)
        rows = int(file.metadata.num_rows)
    if not rows:
        raise DataError(f"{where} holds no rows")
    return rows


def is_simulated(path: Path) -> bool:
    """Whether the file says of itself that it was simulated."""
    with _opened(path, str(path)) as file:
        return (file.schema_arrow.metadata or {}).get(SIMULATED) == b"true"


def read_parquet(path: Path, schema: DatasetSchema, *, labelled: bool = True) -> Iterator[Batch]:
    """Read a Parquet file batch by batch: nominal dictionaries and bytes as text, an empty text as null, else native types.

    Raises:
        DataError: if the file is damaged or its columns are not those of the dataset.
    """
    size = path.stat().st_size
    with _opened(path, str(path)) as file:
        names = _columns(file, schema, str(path), labelled=labelled)
        rows, row = file.metadata.num_rows, 0
        for frame in _frames(path, file, names):
            done, row = row, row + frame.height
            yield Batch(_plain(frame, done), malformed_rows(), size * row // rows - size * done // rows)


@contextmanager
def _opened(path: Path, where: str) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{where} is damaged or no Parquet file: {str(error).partition(chr(10))[0]}") from error


def _columns(file: Any, schema: DatasetSchema, where: str, *, labelled: bool) -> list[str]:
    found = tuple(file.schema_arrow.names)
    match_columns(found, schema, where, labelled=labelled)
    names = [name for name in schema.table_columns if name in found] if labelled else list(found)
    for name in names:
        kind = file.schema_arrow.field(name).type
        if pa.types.is_nested(kind):
            raise DataError(f"{where}: the column {name!r} holds {kind}; expected one plain value a row")
    return names


def _frames(path: Path, file: Any, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The columns in pieces of at most `ROWS` rows."""
    for groups, first_row, rows in _pieces([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]):
        if rows <= LARGEST:
            # Five times as fast as Arrow, but it holds a whole row group.
            frame = pl.scan_parquet(path, glob=False).select(names).slice(first_row, rows).collect()
            yield from frame.iter_slices(ROWS)
        else:
            for part in file.iter_batches(batch_size=ROWS, row_groups=list(groups), columns=list(names)):
                yield pl.DataFrame(pa.table([part[name] for name in names], names=list(names)))


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


def _plain(frame: pl.DataFrame, first_row: int) -> pl.DataFrame:
    """A frame with its row numbers, whose texts are String, and null where they are empty."""
    names = frame.columns
    as_text = [name for name, kind in frame.schema.items() if kind in TEXTUAL]
    frame = frame.with_columns(pl.col(as_text).cast(pl.String)) if as_text else frame
    texts = [pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in names if frame.schema[name] == pl.String]
    row = pl.int_range(first_row, first_row + pl.len(), dtype=pl.Int64).alias("row")
    return frame.with_columns(*texts, row).select("row", *names)

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

#: Rows read at a time.
ROWS = 262_144
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
        for part in file.iter_batches(batch_size=ROWS, columns=names):
            done, row = row, row + part.num_rows
            yield Batch(_plain_frame(part, names, done), malformed_rows(), size * row // rows - size * done // rows)


@contextmanager
def _opened(path: Path, where: str) -> Iterator[Any]:
    try:
        # Without checksums, a damaged page can decompress to other values.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
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


def _plain_frame(part: pa.RecordBatch, names: Sequence[str], first_row: int) -> pl.DataFrame:
    frame = pl.DataFrame(pa.table({name: _plain_array(part[name]) for name in names}))
    texts = [pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in names if frame.schema[name] == pl.String]
    row = pl.int_range(first_row, first_row + pl.len(), dtype=pl.Int64).alias("row")
    return frame.with_columns(*texts, row).select("row", *names)


def _plain_array(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    return array

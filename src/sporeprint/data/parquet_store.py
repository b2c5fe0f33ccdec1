"""Checked tables as Parquet files and back: the cleaned table, its split, and the rejected rows."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.optional_dependencies import Lazy, has
from sporeprint.data.coded_table import Codes, refuse_too_many
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.part_files import part_files
from sporeprint.data.validation import ADDED
from sporeprint.errors import DataError
from sporeprint.schema import DatasetSchema, set_apart

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")

#: Rows of a Parquet file read at a time.
BATCH_ROWS = 262_144

RUN_ID = b"sporeprint.run_id"


def keep_memory() -> None:
    """Let Arrow keep memory between batches, in this process: its usual allocator gives the pages back, and takes them anew."""
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def to_arrow(table: Observations, schema: DatasetSchema, parts: Sequence[str] = ()) -> pa.Table:
    """A table as Arrow: `row`, `group`, `row_hash`, `part` if split, the target's codes, then the features."""
    columns: dict[str, pa.Array] = {
        "_row": pa.array(table.row),
        "_group": pa.nulls(len(table.row), pa.int64()) if table.group is None else pa.array(table.group),
        "_row_hash": pa.array(table.row_hash),
    }
    if table.cluster is not None:
        columns["_cluster"] = pa.array(table.cluster)
    if table.part is not None:
        columns["_part"] = pa.DictionaryArray.from_arrays(pa.array(table.part), pa.array(parts))
    classes = pa.array([schema.target.negative, schema.target.positive])
    columns[schema.target.column] = pa.DictionaryArray.from_arrays(pa.array(table.y), classes)
    for name in schema.columns:
        columns[name] = _feature(table.codes, name)
    return pa.table(columns)


def _feature(codes: Codes, name: str) -> pa.Array:
    if name in codes.numeric:
        return pa.array(codes.numeric[name], from_pandas=True)
    values = codes.nominal[name]
    return pa.DictionaryArray.from_arrays(pa.array(values - np.int16(1), mask=values <= 0), pa.array(codes.vocabulary[name], pa.string()))


class Writer:
    """A Parquet file written table by table. The caller sees to it that the path is a temporary one.

    Args:
        path: the file.
        metadata: what it says of itself.
        plain: whether readers shall see texts where the tables hold dictionaries of them.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str], *, plain: bool = False) -> None:
        self._path, self._plain = path, plain
        self._metadata = {key.encode(): value.encode() for key, value in metadata.items()}
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows; the first table decides the columns."""
        if self._writer is None or self._schema is None:
            self._schema = table.schema.with_metadata(self._metadata)
            # A dictionary of values that hardly repeat would be built, and thrown away. Without checksums, a damaged
            # page can decompress to other values.
            repeating = [name for name in self._schema.names if name not in {"_row", "_row_hash", "_cluster", "probability"}]
            # Readers skip pages by a row's number or group, by nothing else; statistics of every column cost as much as the rest.
            sought = [name for name in self._schema.names if name in {"_row", "_group"}]
            self._writer = pq.ParquetWriter(
                self._path,
                self._schema,
                use_dictionary=repeating,
                column_encoding={"_row": "DELTA_BINARY_PACKED"} if "_row" in self._schema.names else None,  # numbers in order: a byte each
                write_statistics=sought or False,
                write_page_checksum=True,
                store_schema=not self._plain,
            )
            if self._plain:
                self._writer.add_key_value_metadata({**self._metadata, **_said_plainly(self._schema)})
        self._writer.write_table(table.cast(self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write the file's end."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _said_plainly(schema: pa.Schema) -> dict[bytes, bytes]:
    """The note by which readers of a Parquet file know its types, with texts for dictionaries."""
    types = [(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type) for field in schema]
    return {b"ARROW:schema": base64.b64encode(pa.schema(types).serialize().to_pybytes())}


def read_tables(path: Path, schema: DatasetSchema, parts: Sequence[str] = (), *, rows: int = BATCH_ROWS) -> Iterator[Observations]:
    """Read a written table, of one file or of part files, batch by batch.

    Raises:
        DataError: if the file is missing, cannot be read, or lacks a column.
    """
    for file in part_files(path):
        yield from (_with_arrow if has("pyarrow") else _without_arrow)(file, schema, parts, rows)


def _with_arrow(path: Path, schema: DatasetSchema, parts: Sequence[str], rows: int) -> Iterator[Observations]:
    try:
        # Dictionaries are read as such: a nominal value is looked up once per batch, not once per row.
        nominal = [schema.target.column, *schema.nominal, *(["_part"] if parts else [])]
        with pq.ParquetFile(path, read_dictionary=nominal, page_checksum_verification=True) as file:
            _refuse_foreign(path, file.schema_arrow, _numbers(schema), nominal, schema.numeric)
            for batch in file.iter_batches(batch_size=rows):
                yield _to_table(batch, schema, parts)
    except FileNotFoundError:
        raise DataError(_MISSING.format(path)) from None
    except KeyError as error:  # of a dictionary column that is not there
        raise DataError(_lacks(path, error.args[0].decode())) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


_MISSING = "{} is missing; the step before this one writes it (sporeprint transform, then sporeprint load)"


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).partition("\n")[0].rstrip(".")
    return DataError(f"cannot read {path}: {reason}; write it anew with sporeprint transform and sporeprint load")


def _numbers(schema: DatasetSchema) -> tuple[str, ...]:
    """The columns beside features, target and part."""
    return ("_row", "_group", "_row_hash", *(("_cluster",) if schema.cluster is not None else ()))


def _without_arrow(path: Path, schema: DatasetSchema, parts: Sequence[str], rows: int) -> Iterator[Observations]:
    """The same by Polars: a server that promotes reads the test rows. Slower, and without the pages' checksums."""
    nominal = [schema.target.column, *schema.nominal, *(["_part"] if parts else [])]
    try:
        table = pl.scan_parquet(path, glob=False)
        columns = table.collect_schema()
        for name in (*_numbers(schema), *nominal, *schema.numeric):
            if name not in columns:
                raise DataError(_lacks(path, name))
        for first in range(0, int(table.select(pl.len()).collect().item()), rows):
            frame = table.slice(first, rows).with_columns(pl.col(nominal).cast(pl.String)).collect()
            yield _observations(frame, schema, parts)
    except FileNotFoundError:
        raise DataError(_MISSING.format(path)) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _observations(frame: pl.DataFrame, schema: DatasetSchema, parts: Sequence[str]) -> Observations:
    coded = {name: _numbered(frame[name]) for name in schema.nominal}
    classes, y = _numbered(frame[schema.target.column])
    group = frame["_group"]
    part = None
    if parts:
        names, codes = _numbered(frame["_part"])
        part = np.array([-1, *(parts.index(name) for name in names)], dtype=np.int8)[codes]
    return Observations(
        codes=Codes(
            vocabulary={name: values for name, (values, _) in coded.items()},
            nominal={name: codes for name, (_, codes) in coded.items()},
            numeric={name: frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in schema.numeric},
            rows=frame.height,
        ),
        y=np.array([-1, *(value == schema.target.positive for value in classes)], dtype=np.int8)[y],
        row=frame["_row"].to_numpy(),
        group=None if group.null_count() else group.to_numpy(),
        row_hash=frame["_row_hash"].to_numpy(),
        part=part,
        cluster=None if schema.cluster is None else frame["_cluster"].to_numpy(),
    )


def _numbered(column: pl.Series) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    """The values of a column in the order of their first occurrence, and of each row the number of its value, from 1; 0 is missing."""
    values = tuple(column.drop_nulls().unique(maintain_order=True).to_list())
    refuse_too_many(column.name, len(values))
    codes = column.cast(pl.Enum(values)).to_physical().cast(pl.Int32).fill_null(-1) + 1
    return values, codes.to_numpy().astype(np.int16)


def _refuse_foreign(path: Path, stored: pa.Schema, numbers: Sequence[str], nominal: Sequence[str], numeric: Sequence[str]) -> None:
    kinds = {
        **dict.fromkeys(numbers, pa.types.is_integer),
        **dict.fromkeys(nominal, lambda kind: pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type)),
        **dict.fromkeys(numeric, pa.types.is_floating),
    }
    for name, fits in kinds.items():
        if name not in stored.names:
            raise DataError(_lacks(path, name))
        if not fits(kind := stored.field(name).type):
            raise DataError(f"{path}: the column {name!r} holds {kind}; write it anew with sporeprint transform and sporeprint load")


def _lacks(path: Path, name: str) -> str:
    return f"{path} lacks the column {name!r}; write it anew with sporeprint transform and sporeprint load"


def read_table(path: Path, schema: DatasetSchema, parts: Sequence[str] = ()) -> Observations:
    """Read a whole written table. Raises: see `read_tables`."""
    batches = list(read_tables(path, schema, parts, rows=2**31))
    if not batches:
        raise DataError(f"{path} holds no rows")
    return concat(batches)


def run_id_of(path: Path) -> str:
    """The run that wrote a file.

    Raises:
        DataError: if the file is missing or was not written by a run.
    """
    try:
        first = part_files(path)[0]
        if not has("pyarrow"):
            return pl.read_parquet_metadata(first)[RUN_ID.decode()]
        metadata = pq.read_schema(first).metadata or {}
        return str(metadata[RUN_ID].decode())
    except FileNotFoundError:
        raise DataError(f"{path} is missing; write it with sporeprint transform, then sporeprint load") from None
    except _foreign():
        raise DataError(f"{path} was not written by sporeprint; write it anew with sporeprint transform and sporeprint load") from None


def _foreign() -> tuple[type[Exception], ...]:
    known = (pl.exceptions.PolarsError, KeyError, OSError, UnicodeDecodeError)
    return (*known, pa.ArrowException) if has("pyarrow") else known


def _to_table(batch: pa.RecordBatch, schema: DatasetSchema, parts: Sequence[str]) -> Observations:
    nominal, vocabulary = {}, {}
    for name in schema.nominal:
        vocabulary[name], nominal[name] = _codes(batch, name)
    classes, y = _codes(batch, schema.target.column)
    group = batch["_group"]
    return Observations(
        codes=Codes(
            vocabulary=vocabulary,
            nominal=nominal,
            numeric={name: batch[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in schema.numeric},
            rows=batch.num_rows,
        ),
        y=np.array([-1, *(value == schema.target.positive for value in classes)], dtype=np.int8)[y],
        row=batch["_row"].to_numpy(),
        group=None if group.null_count else group.to_numpy(),
        row_hash=batch["_row_hash"].to_numpy(),
        part=_part(batch, parts) if parts else None,
        cluster=None if schema.cluster is None else batch["_cluster"].to_numpy(),
    )


def _codes(batch: pa.RecordBatch, name: str) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    column = batch[name]
    refuse_too_many(name, len(column.dictionary))
    return tuple(column.dictionary.to_pylist()), (column.indices.fill_null(-1).to_numpy() + 1).astype(np.int16)


def _part(batch: pa.RecordBatch, parts: Sequence[str]) -> npt.NDArray[np.int8]:
    names, codes = _codes(batch, "_part")
    return np.array([-1, *(parts.index(name) for name in names)], dtype=np.int8)[codes]


def rejected_columns(schema: DatasetSchema) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The columns of the file of rejected rows."""
    renamed = set_apart(schema.table_columns, ADDED)
    return {
        "_row": pl.Int64,
        "rules": pl.List(pl.String),
        "reason": pl.String,
        "text": pl.String,
        **dict.fromkeys((renamed.get(name, name) for name in schema.table_columns), pl.String),
    }

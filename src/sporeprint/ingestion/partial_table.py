"""Rows that somebody observed, in a file: those of its columns that are known, batch by batch. What is missing is said, not refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sporeprint.common.files import sha256_file
from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError
from sporeprint.ingestion.csv_dialect import CsvDialect, detect_alike, header_names
from sporeprint.ingestion.csv_reader import read_csv
from sporeprint.ingestion.file_formats import kind_of
from sporeprint.ingestion.file_scan import scan
from sporeprint.schema import Column, DatasetSchema, Kind, Target
from sporeprint.settings import CsvSettings

#: Columns of answers, as `predict` writes them.
ANSWERS = {"probability": Kind.NUMERIC, "novelty_p": Kind.NUMERIC, "verdict": Kind.NOMINAL}
#: Rows of a Parquet file that are looked at together, and bytes of a CSV file.
ROWS, BYTES = 131_072, 8 << 20


@dataclass(frozen=True)
class Observed:
    """A file of rows.

    Attributes:
        path: the file.
        sha256: of its bytes, in hex.
        present: the columns that are known: features, the target, answers.
        absent: features that it does not have.
        extra: further columns, which are not looked at.
        dialect: how the CSV is written; None for Parquet, and for a CSV without rows.
        rows: rows, where that is known without reading them: of Parquet, and 0 of a CSV without any.
        crafted: a contract of what is present, for the reader.
    """

    path: Path
    sha256: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    extra: tuple[str, ...]
    dialect: CsvDialect | None
    rows: int | None
    crafted: DatasetSchema

    def frames(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """The known columns batch by batch, and how many further rows could not be split into fields.

        Raises:
            DataError: if the file is damaged.
        """
        if self.dialect is not None:
            for batch in read_csv(self.path, self.dialect, self.crafted, batch_bytes=BYTES):
                yield batch.frame, batch.malformed.height
            return
        try:
            table = pl.scan_parquet(self.path, glob=False).select(self.present) if self.rows else pl.LazyFrame()
            for first in range(0, self.rows or 0, ROWS):
                yield table.slice(first, ROWS).collect(), 0
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path} is damaged: {str(error).partition(chr(10))[0]}") from error


def observe(path: Path, schema: DatasetSchema, csv: CsvSettings | None = None) -> Observed:
    """Look at a plain file, see `sporeprint.ingestion.plain_table`.

    Args:
        path: the file.
        schema: the contract.
        csv: how the table of the configuration is read.

    Raises:
        DataError: no such file, not readable, no table, or none of its columns is a feature.
    """
    if not path.is_file():
        raise DataError(
            f"no such file: {path}; name a CSV or Parquet file that is there" if not path.exists() else f"{path} is no file; name a table"
        )
    try:
        kind = kind_of(path, str(path))
        if kind == "zip":
            raise DataError(f"{path} is a zip archive; unpack it first")
        return _parquet(path, schema) if kind == "parquet" else _csv(path, schema, csv or CsvSettings())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _parquet(path: Path, schema: DatasetSchema) -> Observed:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            arrow_schema, rows = file.schema_arrow, int(file.metadata.num_rows)
    except pa.ArrowException as error:
        raise DataError(f"{path} is damaged or no Parquet file: {str(error).partition(chr(10))[0]}") from error
    present = _known(arrow_schema.names, schema, path)
    for name in present:
        if pa.types.is_nested(arrow_schema.field(name).type):
            raise DataError(f"{path}: the column {name!r} holds {arrow_schema.field(name).type}; expected one plain value a row")
    return _observed(path, schema, arrow_schema.names, present, None, rows)


def _csv(path: Path, schema: DatasetSchema, csv: CsvSettings) -> Observed:
    scanned, everything = scan(path, SilentProgress()), _crafted((schema.target.column, *schema.columns, *ANSWERS), schema)
    names = header_names(path, csv, everything, scanned, where=str(path))
    if not csv.header and not {*schema.columns, *ANSWERS}.intersection(names):
        order = csv.columns or schema.table_columns
        names = order if len(order) == len(names) else names
    present = _known(names, schema, path)
    try:
        dialect = detect_alike(path, csv, _crafted(present, schema), scanned, where=str(path), labelled=True)
    except DataError as error:
        if not str(error).endswith("has a header and no rows"):
            raise
        return _observed(path, schema, names, present, None, 0)
    return _observed(path, schema, names, present, dialect, None)


def _known(names: Sequence[str], schema: DatasetSchema, path: Path) -> tuple[str, ...]:
    expected = (schema.target.column, *schema.columns, *ANSWERS)
    present = tuple(name for name in expected if name in names)
    if twice := [name for name in present if names.count(name) > 1]:
        raise DataError(f"{path}: the column {twice[0]!r} is there {names.count(twice[0])} times; keep one")
    if not set(present) & {*schema.columns, *ANSWERS}:
        shown = ", ".join(repr(name[:40]) for name in names[:5])
        raise DataError(
            f"{path}: no column is one of the dataset {schema.name!r} (found: {shown}); "
            f"expected a header with some of: {', '.join(schema.columns)}"
        )
    return present


def _crafted(present: Sequence[str], schema: DatasetSchema) -> DatasetSchema:
    """A contract that a file with these columns fulfils. The first stands where the target does: no reader looks at what is in it."""
    columns = {name: schema.columns.get(name) or Column(kind=ANSWERS.get(name, Kind.NOMINAL)) for name in present[1:]}
    target = Target(column=present[0], positive=schema.target.positive, values=schema.target.values)
    return DatasetSchema.model_construct(
        name=schema.name, target=target, columns=columns, groups=None, contradictions=(), extra_columns="ignore"
    )


def _observed(
    path: Path, schema: DatasetSchema, names: Sequence[str], present: tuple[str, ...], dialect: CsvDialect | None, rows: int | None
) -> Observed:
    absent = tuple(name for name in schema.columns if name not in present)
    known = {*present, *((schema.groups.column,) if schema.groups and schema.groups.column else ())}
    extra = tuple(name for name in names if name not in known)
    return Observed(path, sha256_file(path), present, absent, extra, dialect, rows, _crafted(present, schema))

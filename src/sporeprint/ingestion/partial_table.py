"""Rows that somebody observed, in a file: those of its columns that are known, batch by batch. What is missing is said, not refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
        present: the columns that are known: features, the target, answers; by the names that they have in answered rows.
        absent: features that it does not have, by the contract's names.
        extra: further columns, which are not looked at.
        dialect: how the CSV is written; None for Parquet, and for a CSV without rows.
        rows: rows, where that is known without reading them: of Parquet, and 0 of a CSV without any.
        crafted: a contract of what is present, for the reader; by the names in the file.
        renamed: names in the file -> those in answered rows, where they differ.
    """

    path: Path
    sha256: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    extra: tuple[str, ...]
    dialect: CsvDialect | None
    rows: int | None
    crafted: DatasetSchema
    renamed: Mapping[str, str] = field(default_factory=dict)

    def frames(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """The known columns batch by batch, and how many further rows could not be split into fields.

        Raises:
            DataError: if the file is damaged.
        """
        if self.dialect is not None:
            for batch in read_csv(self.path, self.dialect, self.crafted, batch_bytes=BYTES):
                yield batch.frame.rename(self.renamed), batch.malformed.height
            return
        try:
            # What is renamed has no namesake in the file.
            table = pl.scan_parquet(self.path, glob=False).rename(self.renamed).select(self.present) if self.rows else pl.LazyFrame()
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
    present, renamed = _known(arrow_schema.names, schema, path)
    for name in _in_file(present, renamed):
        if pa.types.is_nested(arrow_schema.field(name).type):
            raise DataError(f"{path}: the column {name!r} holds {arrow_schema.field(name).type}; expected one plain value a row")
    return _observed(path, schema, arrow_schema.names, present, renamed, None, rows)


def _csv(path: Path, schema: DatasetSchema, csv: CsvSettings) -> Observed:
    scanned = scan(path, SilentProgress())
    everything = _crafted((schema.target.column, *schema.columns, *schema.answered.columns, *ANSWERS), {}, schema)
    names = header_names(path, csv, everything, scanned, where=str(path))
    if not csv.header and not {*schema.columns, *ANSWERS}.intersection(names):
        order = csv.columns or schema.table_columns
        names = order if len(order) == len(names) else names
    present, renamed = _known(names, schema, path)
    try:
        dialect = detect_alike(path, csv, _crafted(present, renamed, schema), scanned, where=str(path), labelled=True)
    except DataError as error:
        if not str(error).endswith("has a header and no rows"):
            raise
        return _observed(path, schema, names, present, renamed, None, 0)
    return _observed(path, schema, names, present, renamed, dialect, None)


def _known(names: Sequence[str], schema: DatasetSchema, path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The columns that are known, by their names in answered rows, and which of them have other names in the file."""
    answered, renamed = schema.answered, schema.as_answered(names)
    there = [renamed.get(name, name) for name in names]
    expected = (answered.target.column, *answered.columns, *ANSWERS)
    present = tuple(name for name in expected if name in there)
    renamed = {name: own for name, own in renamed.items() if own in present}
    if twice := [name for name in _in_file(present, renamed) if names.count(name) > 1]:
        raise DataError(f"{path}: the column {twice[0]!r} is there {names.count(twice[0])} times; keep one")
    if not set(present) & {*answered.columns, *ANSWERS}:
        shown = ", ".join(repr(name[:40]) for name in names[:5])
        raise DataError(
            f"{path}: no column is one of the dataset {schema.name!r} (found: {shown}); "
            f"expected a header with some of: {', '.join(schema.columns)}"
        )
    return present, renamed


def _in_file(present: Sequence[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """The names in the file of columns that are known."""
    before = {own: name for name, own in renamed.items()}
    return tuple(before.get(name, name) for name in present)


class _FileContract(DatasetSchema):
    """A contract by the names in a file: none of them stands for another."""

    @property
    def own_names(self) -> dict[str, str]:
        """None."""
        return {}


def _crafted(present: Sequence[str], renamed: Mapping[str, str], schema: DatasetSchema) -> DatasetSchema:
    """A contract that a file with these columns fulfils. The first stands where the target does: no reader looks at what is in it."""
    known = {**schema.columns, **schema.answered.columns}
    first, *others = _in_file(present, renamed)
    columns = {
        name: known.get(renamed.get(name, name)) or Column(kind=ANSWERS.get(renamed.get(name, name), Kind.NOMINAL)) for name in others
    }
    target = Target(column=first, positive=schema.target.positive, values=schema.target.values)
    return _FileContract.model_construct(
        name=schema.name, target=target, columns=columns, groups=None, contradictions=(), extra_columns="ignore"
    )


def _observed(
    path: Path,
    schema: DatasetSchema,
    names: Sequence[str],
    present: tuple[str, ...],
    renamed: Mapping[str, str],
    dialect: CsvDialect | None,
    rows: int | None,
) -> Observed:
    absent = tuple(name for name, own in zip(schema.columns, schema.answered.columns, strict=True) if own not in present)
    groups = {contract.groups.column for contract in (schema, schema.answered) if contract.groups}
    known = {*_in_file(present, renamed), *groups}
    extra = tuple(name for name in names if name not in known)
    crafted = _crafted(present, renamed, schema)
    return Observed(path, sha256_file(path), present, absent, extra, dialect, rows, crafted, renamed)

"""The record of a raw table: its files, where they came from, and how they are written."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from sporeprint.errors import DataError
from sporeprint.ingestion.csv_dialect import CsvDialect

Kind = Literal["file", "url", "store", "sql", "simulated"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a table came from.

    Attributes:
        source: the file, address or query's database as it was named, secrets masked; for a simulated table, why.
        kind: file, url, store (an object store, or HDFS), sql or simulated.
        path: the file that is read, relative to the work directory where it lies below it; of several, their folder or pattern.
        bytes: its size; of several files, of all.
        sha256: of its bytes, in hex; of several CSV files, of their text as one file would hold it.
        rows: data rows, malformed ones included; None where counting them would take a full parse (quotes, blank lines,
            UTF-16, carriage returns as newlines).
        extracted_at: ISO 8601, UTC.
        seconds: how long it took.
        simulated: whether the table is invented.
    """

    source: str
    kind: Kind
    path: str
    bytes: int
    sha256: str
    rows: int | None
    extracted_at: str
    seconds: float
    simulated: bool


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of a table.

    Attributes:
        path: where it lies.
        bytes: its size.
        sha256: of its bytes, in hex.
        rows: as in `Provenance`.
        dialect: how the CSV is written; None for Parquet.
        cuts: where it can be read in parts: the byte where a row begins, and the rows before it. Empty where it cannot.
    """

    path: Path
    bytes: int
    sha256: str
    rows: int | None
    dialect: CsvDialect | None
    cuts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave and JSON made of it."""
        dialect = None if raw["dialect"] is None else CsvDialect.from_dict(raw["dialect"])
        cuts = tuple((byte, rows) for byte, rows in raw.get("cuts", ()))
        return cls(Path(raw["path"]), raw["bytes"], raw["sha256"], raw["rows"], dialect, cuts)


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table, opened: its files, format and dialect.

    Attributes:
        path: the file; of several files their folder, or the pattern of their names.
        format: csv or parquet.
        provenance: where it came from.
        files: the files of the table, in the order of their rows.
        further: a Parquet file of rows that follow those of the files, if there are any.
    """

    path: Path
    format: Literal["csv", "parquet"]
    provenance: Provenance
    files: tuple[RawFile, ...]
    further: Path | None = None

    @property
    def dialect(self) -> CsvDialect | None:
        """How the first CSV file is written; None for Parquet."""
        return self.files[0].dialect

    @property
    def is_there(self) -> bool:
        """Whether all files still lie where they lay."""
        return all(file.path.exists() for file in self.files)

    def to_json(self) -> str:
        """As JSON, for `from_json`."""
        return json.dumps(asdict(self), indent=2, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            DataError: if it is something else.
        """
        try:
            raw = json.loads(text)
            about = Provenance(**raw["provenance"])
            further = None if raw.get("further") is None else Path(raw["further"])
            if "files" not in raw:  # of a release that knew tables of one file only
                raw["files"] = [{**raw, "bytes": about.bytes, "sha256": about.sha256, "rows": about.rows}]
            return cls(Path(raw["path"]), raw["format"], about, tuple(map(RawFile.from_dict, raw["files"])), further)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"the record of the last extract is damaged ({error}); run sporeprint extract again") from error

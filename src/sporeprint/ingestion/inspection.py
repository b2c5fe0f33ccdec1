"""What the files of a table are: their form, columns, rows and bytes; and whether they are of one table."""

import codecs
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sporeprint.common.files import sha256_file
from sporeprint.common.progress import Progress
from sporeprint.errors import DataError
from sporeprint.ingestion.csv_dialect import BOMS, CsvDialect, detect, header_columns, read_head
from sporeprint.ingestion.file_formats import kind_of, unlike_headers
from sporeprint.ingestion.file_scan import Scan, scan
from sporeprint.ingestion.parquet_reader import count_rows
from sporeprint.ingestion.table_record import RawFile
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the files of a table are.

    Attributes:
        files: each of them.
        sha256: as in `Provenance`.
    """

    files: tuple[RawFile, ...]
    sha256: str

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def rows(self) -> int | None:
        """As in `Provenance`."""
        counts = [file.rows for file in self.files if file.rows is not None]
        return sum(counts) if len(counts) == len(self.files) else None


def one_kind(named: Mapping[Path, str]) -> str:
    """csv, parquet or zip: what all files are.

    Args:
        named: path -> what the file is, for messages.

    Raises:
        DataError: they are of several forms, or one is empty or no table.
    """
    kinds = {where: kind_of(path, where) for path, where in named.items()}
    (first, kind), *others = kinds.items()
    for where, other in others:
        if other != kind:
            raise DataError(f"{first} is {kind}, {where} is {other}; expected files of one form")
    return kind


def inspect_parquet(named: Mapping[Path, str], schema: DatasetSchema, *, labelled: bool) -> Inspection:
    """Parquet files of one table.

    Args:
        named: path -> what the file is, for messages.
        schema: the contract.
        labelled: whether the target (and the group column) must be there.

    Raises:
        DataError: a file is damaged, has not the dataset's columns, or other ones than the first; a file is there twice; no rows.
    """
    _refuse_other_columns(named)
    strict = labelled and len(named) == 1
    files = tuple(
        RawFile(path, path.stat().st_size, sha256_file(path), count_rows(path, schema, where=where, labelled=labelled, rows=strict), None)
        for path, where in named.items()
    )
    if labelled and not any(file.rows for file in files):
        raise DataError(f"{next(iter(named.values()))} and the files after it hold no rows")
    _refuse_twice(files, list(named.values()))
    return Inspection(files, _together([file.sha256 for file in files]))


def _together(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _refuse_other_columns(named: Mapping[Path, str]) -> None:
    if len(named) == 1:
        return
    try:
        (first, names), *others = [(where, set(pl.read_parquet_schema(path))) for path, where in named.items()]
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a file is damaged or no Parquet file: {str(error).partition(chr(10))[0]}") from error
    for where, other in others:
        if other != names:
            raise DataError(f"{where} has other columns than {first}: {min(other ^ names)!r} is in one of them only")


def inspect_csv(named: Mapping[Path, str], chosen: CsvSettings, schema: DatasetSchema, progress: Progress, *, labelled: bool) -> Inspection:
    """CSV files of one table.

    Args:
        named: path -> what the file is, for messages.
        chosen: how the files are written, as far as it is set.
        schema: the contract.
        progress: counts the bytes.
        labelled: whether the target (and the group column) must be there.

    Raises:
        DataError: a file is empty, has not the dataset's columns, or another header than the first; a file is there twice; no rows.
    """
    progress.total(sum(path.stat().st_size for path in named))
    joined = JoinedText(header=chosen.header)
    files = []
    for path, where in named.items():
        progress.text(f"reading {where}")
        joined.begin(path, where)
        scanned = scan(path, progress, see=joined.see if len(named) > 1 else None)
        dialect = detect(path, chosen, schema, scanned, where=where, labelled=labelled, rows=len(named) == 1)
        progress.text(f"{where}: separator {dialect.separator!r}, encoding {dialect.encoding}")
        head = read_head(path, dialect.encoding)
        above = head[: header_columns(head, dialect, schema, where, labelled=labelled)[1]].count(b"\n")
        rows = rows_of(scanned, dialect, above)
        cuts = () if rows is None else tuple((byte, lines - above) for byte, lines in scanned.cuts if lines > above and byte < scanned.size)
        files.append(RawFile(path, scanned.size, scanned.sha256, rows, dialect, cuts))
    if labelled and all(file.rows == 0 for file in files):
        raise DataError(f"{next(iter(named.values()))} and the files after it hold a header and no rows")
    _refuse_twice(files, list(named.values()))
    return Inspection(tuple(files), joined.sha256 if len(files) > 1 else files[0].sha256)


def rows_of(scanned: Scan, dialect: CsvDialect, above: int | None = None) -> int | None:
    """Rows of a file whose lines are rows; None for any other. `above`: lines up to the one with the column names; None: that one."""
    wide = codecs.lookup(dialect.encoding).name.startswith(("utf-16", "utf-32"))
    return (
        None if scanned.lines is None or wide or dialect.newline == "\r" else scanned.lines - (dialect.header if above is None else above)
    )


def _refuse_twice(files: Sequence[RawFile], named: Sequence[str]) -> None:
    """Refuse two files of the same rows: one of them is a copy, and its rows would count twice."""
    seen: dict[str, str] = {}
    for file, where in zip(files, named, strict=True):
        if file.rows == 0:
            continue
        if (other := seen.setdefault(file.sha256, where)) != where:
            raise DataError(f"{where} holds the same bytes as {other}, so its rows would count twice; remove one of them")


class JoinedText:
    """The text of several CSV files as one file would hold it: one header, every line ended. Its sha256 tells equal tables.

    Args:
        header: whether every file begins with a line of column names.
    """

    def __init__(self, *, header: bool) -> None:
        self._header, self._digest = header, hashlib.sha256()
        self._first: tuple[bytes, str] | None = None
        self._skip, self._last = 0, b"\n"

    def begin(self, path: Path, where: str) -> None:
        """Go on with a file.

        Raises:
            DataError: its first line is not that of the first file.
        """
        if self._last not in (b"\n", b"\r"):
            self._digest.update(b"\n")
        with path.open("rb") as file:
            line = file.readline()
        header = line.strip()
        for mark in BOMS:
            header = header.removeprefix(mark)
        if self._first is None:
            self._first, self._skip = (header, where), 0
        elif self._header:
            if header != self._first[0]:
                raise unlike_headers(where, header, self._first[1], self._first[0])
            self._skip = len(line)

    def see(self, block: bytes) -> None:
        """Take the next bytes of the file."""
        text, self._skip = block[self._skip :], max(0, self._skip - len(block))
        self._digest.update(text)
        self._last = text[-1:] or self._last

    @property
    def sha256(self) -> str:
        """Of all text so far, in hex."""
        return self._digest.hexdigest()

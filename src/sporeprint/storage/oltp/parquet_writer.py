"""A Parquet file that grows part by part and says at its end what is known only then: Polars writes the parts, the footer is joined here.

A footer is a tree of numbered fields (Thrift's compact protocol). Of each part's, the row groups are taken over with their places moved;
beside them stands the CRC-32 of each part's bytes, which whoever reads holds them to.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import polars as pl

from sporeprint.ingestion.parquet_footer import (
    BINARY,
    COLUMNS,
    GROUP_ROWS,
    GROUPS,
    I16,
    I64,
    LIST,
    MAGIC,
    NOTES,
    ROW_COUNT,
    STRUCT,
    DamagedFileError,
    Struct,
    footer_of,
    to_bytes,
)

#: Key of the sums: of each row group the first byte, the number of bytes, their CRC-32, and the rows.
SUMS = "sporeprint.sums"
#: Fields of a row group, of a column in it, and of the column's description that are places in the file.
GROUP_PLACE, ORDINAL = 5, 7
COLUMN_PLACES, DESCRIPTION, DESCRIPTION_PLACES = (2, 4, 6), 3, (9, 10, 11, 14)


@dataclass(frozen=True)
class ParquetPart:
    """A part of the file that was written, and is read, as one.

    Attributes:
        begin: its first byte.
        size: bytes.
        crc: of these.
        rows: in it.
    """

    begin: int
    size: int
    crc: int
    rows: int


class ParquetWriter:
    """A file on its way. It holds no more than one part."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._schema: dict[str, pl.DataType] | None = None
        self._footer: Struct = {}
        self._parts: list[ParquetPart] = []
        self._at = 0
        self._put(MAGIC)

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; the first ones decide the columns. Raises: OSError."""
        if self._schema is None:
            self._schema = dict(frame.schema)
        elif not frame.height:
            return
        whole = BytesIO()
        rows = frame.select(*self._schema).cast(self._schema)  # type: ignore[arg-type]  # a dict of types is what it takes
        rows.write_parquet(whole, compression="zstd", compression_level=1, statistics=False, row_group_size=max(1, frame.height))
        data = whole.getvalue()
        footer, end = footer_of(whole)
        body = data[len(MAGIC) : end]
        groups = footer[GROUPS][1][1]
        for group in groups:
            _move(group, self._at - len(MAGIC), len(self._footer[GROUPS][1][1]) if self._footer else 0)
        if self._footer:
            self._footer[GROUPS][1][1].extend(groups)
            self._footer[ROW_COUNT] = (I64, self._footer[ROW_COUNT][1] + footer[ROW_COUNT][1])
        else:
            self._footer = footer
        self._parts.append(ParquetPart(self._at, len(body), zlib.crc32(body), frame.height))
        self._put(body)

    def close(self, notes: Mapping[str, str] | None) -> None:
        """Write the file's end with notes in it; without any it is only let go of. Raises: OSError."""
        with self._file:
            if notes is None or not self._footer:
                return
            sums = json.dumps([[part.begin, part.size, part.crc, part.rows] for part in self._parts])
            own: list[Struct] = [{1: (BINARY, key.encode()), 2: (BINARY, text.encode())} for key, text in {**notes, SUMS: sums}.items()]
            known = self._footer.get(NOTES, (LIST, (STRUCT, [])))[1][1]
            self._footer[NOTES] = (LIST, (STRUCT, [*known, *own]))
            footer = to_bytes(self._footer)
            self._put(footer + len(footer).to_bytes(4, "little") + MAGIC)

    def _put(self, data: bytes) -> None:
        self._at += len(data)
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError:
            self._file.close()
            raise


def notes(path: Path) -> dict[str, str]:
    """The notes of a file.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFileError: it is damaged.
    """
    try:
        return pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedFileError(str(error)) from error


def parts(path: Path) -> list[ParquetPart]:
    """The parts of a file; of one without sums, which an earlier release wrote, its row groups, unchecked. Raises: see `notes`."""
    try:
        if (sums := notes(path).get(SUMS)) is not None:
            return [ParquetPart(*numbers) for numbers in json.loads(sums)]
        with path.open("rb") as file:
            footer, _ = footer_of(file)
        return [ParquetPart(0, 0, zlib.crc32(b""), group[GROUP_ROWS][1]) for group in footer[GROUPS][1][1]]
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{path.name} has no parts") from error


def frames(path: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The rows, part by part. Raises: see `notes`."""
    first = 0
    for part in parts(path):
        yield rows(path, part, first, part.rows, columns)
        first += part.rows


def row(path: Path, number: int) -> dict[str, Any] | None:
    """One row; None where there are fewer. Raises: see `notes`."""
    first = 0
    for part in parts(path):
        if number < first + part.rows:
            return rows(path, part, number, 1).row(0, named=True)
        first += part.rows
    return None


def rows(path: Path, part: ParquetPart, first: int, count: int, columns: list[str] | None = None) -> pl.DataFrame:
    """Rows of one part, whose bytes are held to their sum first."""
    with path.open("rb") as file:
        file.seek(part.begin)
        if zlib.crc32(file.read(part.size)) != part.crc:
            raise DamagedFileError(f"bytes {part.begin:,} to {part.begin + part.size:,} of {path.name} are not those that were written")
    try:
        table = pl.scan_parquet(path, glob=False)
        return (table if columns is None else table.select(columns)).slice(first, count).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedFileError(str(error)) from error


def _move(group: Struct, by: int, ordinal: int) -> None:
    """Move all places that a row group names."""
    _add(group, (GROUP_PLACE,), by)
    if ORDINAL in group:
        group[ORDINAL] = (I16, group[ORDINAL][1] + ordinal)
    for column in group[COLUMNS][1][1]:
        _add(column, COLUMN_PLACES, by)
        _add(column[DESCRIPTION][1], DESCRIPTION_PLACES, by)


def _add(struct: Struct, fields: tuple[int, ...], by: int) -> None:
    for field in fields:
        # Some writers leave a place that says nothing at 0.
        if field in struct and struct[field][1]:
            struct[field] = (I64, struct[field][1] + by)

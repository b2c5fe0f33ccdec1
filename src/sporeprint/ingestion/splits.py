"""A table as pieces that can be read apart from each other, each with the number of its first row.

A piece ends where a line does. A quoted newline can look like the end of a line; a file with quotes, with blank lines, or in UTF-16 is
therefore one piece, and so is a table in which such a file stands before others: how many rows it has is known only when it is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sporeprint.ingestion.raw_batch import Batch
from sporeprint.ingestion.raw_table import read_piece
from sporeprint.ingestion.table_record import RawFile, RawTable
from sporeprint.schema import DatasetSchema

#: Most rows of a piece.
MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Piece:
    """Bytes of one file that hold whole rows; of a Parquet file, all.

    Attributes:
        file: the file.
        begin: its first byte.
        end: the byte after its last; None: the end of the file.
        rows: how many rows it holds; None: unknown.
    """

    file: RawFile
    begin: int
    end: int | None
    rows: int | None

    @property
    def bytes(self) -> int:
        """Its size."""
        return (self.file.bytes if self.end is None else self.end) - self.begin


@dataclass(frozen=True)
class Split:
    """Pieces that are read one after the other, and the number of their first row."""

    number: int
    first_row: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int | None:
        """How many rows it holds; None: unknown."""
        return None if any(piece.rows is None for piece in self.pieces) else sum(piece.rows or 0 for piece in self.pieces)

    def batches(self, schema: DatasetSchema, *, batch_bytes: int) -> Iterator[Batch]:
        """Its rows, batch by batch. Raises: see `read_batches`."""
        row, vocabulary = self.first_row, schema.vocabulary
        for piece in self.pieces:
            part = (piece.begin, piece.end)
            for batch in read_piece(piece.file, schema, batch_bytes=batch_bytes, part=part, first_row=row, vocabulary=vocabulary):
                row += batch.frame.height + batch.malformed.height
                yield batch


def splits(raw: RawTable, *, most_bytes: int) -> list[Split]:
    """A table in pieces of at most `MOST_ROWS` rows and about `most_bytes` bytes, small files together.

    The pieces depend on the files alone, so that every engine writes the same.
    """
    files = raw.files
    if raw.further is not None:
        files = (*files, RawFile(raw.further, raw.further.stat().st_size, "", None, None))
    whole = [piece for file in files for piece in _pieces(file, most_bytes)]
    if any(piece.rows is None for piece in whole[:-1]):
        return [Split(0, 0, tuple(Piece(file, 0, None, None) for file in files))]
    return list(_grouped(whole, most_bytes))


def _pieces(file: RawFile, most_bytes: int) -> Iterator[Piece]:
    if file.rows is None or not file.cuts:
        yield Piece(file, 0, None, file.rows)
        return
    begin, first = 0, 0
    ends = [*file.cuts, (file.bytes, file.rows)]
    for (place, rows), (later, more) in pairwise(ends):
        if later - begin > most_bytes or more - first > MOST_ROWS:
            yield Piece(file, begin, place, rows - first)
            begin, first = place, rows
    yield Piece(file, begin, None, file.rows - first)


def _grouped(pieces: Sequence[Piece], most_bytes: int) -> Iterator[Split]:
    group: list[Piece] = []
    number = first_row = rows = size = 0
    for piece in pieces:
        if group and (size + piece.bytes > most_bytes or rows + (piece.rows or 0) > MOST_ROWS):
            yield Split(number, first_row, tuple(group))
            number, first_row, rows, size, group = number + 1, first_row + rows, 0, 0, []
        group.append(piece)
        rows, size = rows + (piece.rows or 0), size + piece.bytes
    yield Split(number, first_row, tuple(group))

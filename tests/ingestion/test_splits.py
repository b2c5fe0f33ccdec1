"""A table in pieces: every row in one of them, with the number that it has when the table is read at once."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from sporeprint.common.progress import SilentProgress
from sporeprint.ingestion import inspection
from sporeprint.ingestion import splits as pieces
from sporeprint.ingestion.file_scan import scan
from sporeprint.ingestion.raw_batch import Batch
from sporeprint.ingestion.raw_table import RawTable, read_batches
from sporeprint.ingestion.splits import Split, splits
from sporeprint.ingestion.table_record import Provenance, RawFile
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings

SCHEMA = DatasetSchema.model_validate(
    {
        "name": "tiny",
        "target": {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}},
        "columns": {"width": {"kind": "numeric"}},
    }
)
ROWS = ["e;1", "p;22", "bad", "e;333", "p;4;4", *(f"e;{number}" for number in range(200))]
Open = Callable[..., RawTable]
HEAD = "# of a forest\nclass;width\n"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens files of those texts, whose bytes are scanned 64 at a time."""
    monkeypatch.setattr(inspection, "scan", lambda path, progress, see=None: scan(path, progress, block_bytes=64, see=see))

    def open_files(*texts: str) -> RawTable:
        named = {tmp_path / f"{number}.csv": f"{number}.csv" for number in range(len(texts))}
        for path, text in zip(named, texts, strict=True):
            path.write_bytes(text.encode())
        found = inspection.inspect_csv(named, CsvSettings(), SCHEMA, SilentProgress(), labelled=True)
        return raw_table(found.files)

    return open_files


def raw_table(files: tuple[RawFile, ...], further: Path | None = None) -> RawTable:
    about = Provenance("t", "file", "t", 1, "", None, datetime.now(UTC).isoformat(), 0.0, simulated=False)
    return RawTable(files[0].path, "csv", about, files, further)


def rows(found: list[Split]) -> list[tuple[object, ...]]:
    return _listed([batch for split in found for batch in split.batches(SCHEMA, batch_bytes=100)])


def expected(raw: RawTable) -> list[tuple[object, ...]]:
    return _listed(list(read_batches(raw, SCHEMA, batch_bytes=1 << 20)))


def _listed(batches: list[Batch]) -> list[tuple[object, ...]]:
    good = [row for batch in batches for row in batch.frame.rows()]
    return sorted([*good, *((row, "malformed") for batch in batches for row in batch.malformed["_row"])], key=lambda row: int(str(row[0])))


@pytest.mark.parametrize("size", [1, 100, 300, 1 << 20])
@pytest.mark.parametrize("files", [1, 3])
def test_pieces_hold_every_row_once(size: int, files: int, opened: Open) -> None:
    texts = [HEAD + "\n".join(ROWS[number::files]) + ("\n" if number else "") for number in range(files)]
    raw = opened(*texts)
    found = splits(raw, most_bytes=size)
    assert rows(found) == expected(raw)
    assert len(rows(found)) == len(ROWS) == sum(split.rows or 0 for split in found)
    assert [split.first_row for split in found] == [0, *(before.first_row + (before.rows or 0) for before, _ in pairwise(found))]
    assert [split.number for split in found] == list(range(len(found)))
    assert (len(found) == 1) == (size > 1 << 16)


def test_a_piece_has_at_most_so_many_rows(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_ROWS", 40)
    raw = opened(HEAD + "\n".join(ROWS))
    found = splits(raw, most_bytes=1 << 30)
    assert max(split.rows or 0 for split in found) <= 40
    assert rows(found) == expected(raw)


@pytest.mark.parametrize("odd", ['e;"1\n"\n', "e;1\n\n"])
def test_a_file_whose_lines_are_no_rows_is_read_at_once(odd: str, opened: Open) -> None:
    raw = opened(HEAD + "\n".join(ROWS) + "\n" + odd, HEAD + "\n".join(ROWS[:9]))
    (whole,) = splits(raw, most_bytes=1)
    assert (whole.rows, len(whole.pieces)) == (None, 2)
    assert rows([whole]) == expected(raw)


def test_parquet_files_are_pieces_and_further_rows_follow(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame({"class": ["e"] * (number + 1), "width": [float(number)] * (number + 1)}).write_parquet(path)
        files.append(RawFile(path, path.stat().st_size, "", number + 1, None))
    raw = raw_table(tuple(files[:2]), further=files[2].path)
    found = splits(raw, most_bytes=1)
    assert [(split.first_row, split.rows) for split in found] == [(0, 1), (1, 2), (3, None)]
    assert rows(found) == expected(raw)

"""Files are decoded in a process with limits: bombs and damaged files end there, and the server goes on."""

import io
import multiprocessing
import multiprocessing.spawn
import random
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from journal_support import until
from sporeprint.errors import DataError
from sporeprint.model_serving.runtime.upload_process import DecodeLimits, TooLargeError, UploadDecoder
from sporeprint.settings import Settings

LIMITS = DecodeLimits(memory_bytes=256 << 20, decoded_bytes=64 << 20, rows=1_000_000, columns=200, seconds=60)


@pytest.fixture(scope="module", autouse=True)
def _started_by_python() -> Iterator[None]:
    """A fork that has loaded everything has so much memory from the first that its server takes it for grown, and ends it."""
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(sys.executable)
    yield
    multiprocessing.set_executable(before)


@pytest.fixture(scope="module")
def decoder() -> Iterator[UploadDecoder]:
    found = UploadDecoder(LIMITS)
    yield found
    found.close()


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


def bomb(cell: int, rows: int) -> bytes:
    """A dictionary of one long text, a million times."""
    raw, first = io.BytesIO(), pa.array(np.zeros(rows, np.int32))
    texts = {"prediction_id": "x" * cell, "outcome": "p"}
    table = pa.table({name: pa.DictionaryArray.from_arrays(first, pa.array([text])) for name, text in texts.items()})
    pq.write_table(table, raw, compression="zstd", store_schema=False)  # without it readers take the columns for plain text
    return raw.getvalue()


def test_rows_come_as_they_were_written(decoder: UploadDecoder, small_settings: Settings, tmp_path: Path) -> None:
    schema = small_settings.dataset
    columns: dict[str, Any] = {name: [1.5, None, 3.0] if name in schema.numeric else ["x", None, ""] for name in schema.columns}
    frame = pl.DataFrame({name.replace("-", "_"): values for name, values in columns.items()} | {"id": [1, 2, 3]})
    found = pl.concat(batch.frame for batch in decoder.decode(written(frame, tmp_path / "a.parquet"), schema))
    assert found.columns == ["_row", *schema.columns, "id"]
    assert found["id"].to_list() == [1, 2, 3]
    assert found[schema.numeric[0]].to_list() == [1.5, None, 3.0]
    assert found[schema.nominal[0]].to_list() == ["x", None, None]
    (none,) = decoder.decode(written(frame.clear(), tmp_path / "b.parquet"), schema)
    assert none.frame.height == 0


def test_bombs_are_refused_and_the_next_file_is_read(decoder: UploadDecoder, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    for cell, rows in ((20_000, 100_000), (200_000, 10_000), (100_000, 50)):
        path.write_bytes(bomb(cell, rows))
        assert path.stat().st_size < 1 << 20
        with pytest.raises((TooLargeError, DataError)):
            decoder.decode_table(path)
    many = pl.DataFrame({f"c{number}": [1] for number in range(500)})
    with pytest.raises(TooLargeError, match="it has 500 columns, at most 200 may be"):
        decoder.decode_table(written(many, path))
    assert decoder.decode_table(written(pl.DataFrame({"a": [1, 2]}), path))["a"].to_list() == [1, 2]


def test_flipped_bytes_are_the_files_fault(decoder: UploadDecoder, tmp_path: Path) -> None:
    good = written(pl.DataFrame({"prediction_id": ["a", "b"] * 50, "outcome": ["p", "e"] * 50}), tmp_path / "a.parquet").read_bytes()
    chance, path = random.Random(7), tmp_path / "b.parquet"
    for _ in range(60):
        broken = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(bytes(broken))
        try:
            decoder.decode_table(path)
        except (DataError, TooLargeError):
            continue


def serve_one(path: Path, said: Connection) -> None:
    decoder = UploadDecoder(LIMITS)
    decoder.decode_table(path)
    said.send([child.pid for child in multiprocessing.active_children()])
    said.recv()


def test_a_killed_server_leaves_no_process(tmp_path: Path) -> None:
    path = written(pl.DataFrame({"a": [1]}), tmp_path / "a.parquet")
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_one, args=(path, there))
    server.start()
    assert here.poll(120)
    (decoder,) = here.recv()
    assert is_alive(decoder)
    server.kill()
    server.join()
    until(lambda: not is_alive(decoder))


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # in a container nobody may wait for it

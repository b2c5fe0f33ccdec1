"""Tests of sporeprint.storage.warehouse.counted_page: a backlog counted in several processes is the warehouse that one process makes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from sporeprint.common.engine import LocalEngine
from sporeprint.errors import RetryableError
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import counted_page, star_schema
from sporeprint.storage.warehouse.counted_page import PageTask, read_and_count, rest
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import COLUMNS, PREDICTIONS, Readers, sync_warehouse
from warehouse_support import SCHEMA, everything, outcome, predictions, warehouse_at, write
from warm_start import Warm

ROWS, PAGE = 900, 40


@pytest.fixture(scope="module")
def tasks() -> Iterator[LocalEngine]:
    """Two processes for all tests."""
    with closing(LocalEngine(2)) as engine:
        yield engine


def fill(oltp: Engine) -> list[dict[str, Any]]:
    """Hours of answers with numbers that are missing, some before the first, and outcomes."""
    rows = predictions(ROWS)
    write(oltp, rows)
    with oltp.begin() as connection:
        missing = tables.prediction.c.seq.in_([1, 2, 60, 61, *range(200, 330), ROWS - 1])
        connection.execute(delete(tables.prediction).where(missing))
    write(oltp, [outcome(row["prediction_id"], "ep"[number % 2]) for number, row in enumerate(rows[::7])], tables.outcome)
    return rows


def sync(oltp: Engine, warehouse: Warehouse, tasks: LocalEngine | None) -> int:
    readers = None if tasks is None else Readers(tasks, oltp.url)
    return sync_warehouse(oltp, warehouse, SCHEMA, page_rows=PAGE, load_pages=3, readers=readers, clock=lambda: 7).predictions


def test_two_processes_make_the_warehouse_that_one_makes_row_for_row(
    oltp: Engine, warehouse: Warehouse, tmp_path: Path, tasks: LocalEngine
) -> None:
    fill(oltp)
    done = sync(oltp, warehouse, tasks)
    with warehouse_at(str(tmp_path / "alone")) as alone:
        assert sync(oltp, alone, None) == done == ROWS - 135
        assert everything(warehouse) == everything(alone)
        assert warehouse.get_note(PREDICTIONS) == alone.get_note(PREDICTIONS)
        assert [gap[:2] for gap in warehouse.get_note(PREDICTIONS)["gaps"]] == [[1, 2], [60, 61], [200, 329], [ROWS - 1, ROWS - 1]]


def test_the_other_processes_count(oltp: Engine, warehouse: Warehouse, tasks: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    write(oltp, predictions(ROWS))
    monkeypatch.setattr(counted_page, "counted", None)  # here it would fail
    assert sync(oltp, warehouse, tasks) == ROWS


def test_what_is_there_already_is_not_counted_again(oltp: Engine, warehouse: Warehouse, tmp_path: Path, tasks: LocalEngine) -> None:
    """As after a restored database: half of the rows come a second time, with other numbers."""
    rows = predictions(ROWS)
    write(oltp, rows[: ROWS // 2])
    sync(oltp, warehouse, None)
    with oltp.begin() as connection:
        connection.execute(delete(tables.prediction))
    write(oltp, rows)
    assert sync(oltp, warehouse, tasks) == ROWS // 2
    with warehouse_at(str(tmp_path / "alone")) as alone:
        sync(oltp, alone, None)
        assert without_numbers(warehouse) == without_numbers(alone)


def without_numbers(warehouse: Warehouse) -> dict[str, list[Any]]:
    place = star_schema.FACT_PREDICTION.names.index("seq")
    rows = everything(warehouse)
    return {**rows, "fact_prediction": sorted((row[:place] + row[place + 1 :] for row in rows["fact_prediction"]), key=repr)}


def test_a_page_that_is_too_large_is_read_in_parts(oltp: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    write(oltp, predictions(30))
    monkeypatch.setattr("sporeprint.storage.paging.PAGE_BYTES", 1)
    monkeypatch.setattr("sporeprint.storage.paging.READ_ROWS", 10)
    task: PageTask | None = PageTask(oltp.url, SCHEMA, COLUMNS[PREDICTIONS], 1, 30)
    numbers: list[int] = []
    while task is not None:
        result = read_and_count(task)
        numbers += result.numbers
        task = rest(task, result)
    assert numbers == list(range(1, 31))


def test_what_a_killed_reader_leaves_the_next_sync_completes(oltp: Engine, warehouse: Warehouse, tmp_path: Path) -> None:
    fill(oltp)

    class Kills:
        """Progress that kills a reader when the first page is there."""

        def total(self, amount: int | None) -> None: ...

        def text(self, text: str) -> None: ...

        def advance(self, amount: int) -> None:
            for process in list(engine._processes()._processes.values()):
                assert process.pid is not None
                with suppress(ProcessLookupError):  # a page that was counted before is advanced, too
                    os.kill(process.pid, signal.SIGKILL)

    with closing(LocalEngine(2)) as engine:
        readers = Readers(engine, oltp.url)
        with pytest.raises(RetryableError, match=r"^a process of this run ended without a word"):
            sync_warehouse(oltp, warehouse, SCHEMA, page_rows=PAGE, load_pages=3, readers=readers, progress=Kills())
        assert len(everything(warehouse)["fact_prediction"]) < ROWS - 135
        sync(oltp, warehouse, engine)
    with warehouse_at(str(tmp_path / "alone")) as alone:
        sync(oltp, alone, None)
        assert everything(warehouse) == everything(alone)


#: A sync with two readers, which tells when it has come some way.
SYNC = """
import sys
sys.path.append(sys.argv[3])
from pathlib import Path
from sqlalchemy import make_url
from sporeprint.common.engine import LocalEngine
from sporeprint.common.progress import SilentProgress
from sporeprint.storage.engine import connect
from sporeprint.storage.warehouse.sync import Readers, sync_warehouse
from warehouse_support import SCHEMA, warehouse_at
class Tells(SilentProgress):
    def advance(self, amount):
        print([process.pid for process in tasks._processes()._processes.values()], flush=True)
if __name__ == "__main__":
    url, olap = make_url(sys.argv[1]), sys.argv[2]
    tasks = LocalEngine(2)
    with warehouse_at(olap) as warehouse:
        sync_warehouse(connect(url), warehouse, SCHEMA, page_rows=40, load_pages=2, readers=Readers(tasks, url), progress=Tells())
    tasks.close()
"""


def test_killed_at_random_points_the_next_one_completes_it_and_no_reader_stays(
    oltp: Engine, warehouse_address: str, tmp_path: Path, root: Path
) -> None:
    fill(oltp)
    chance = random.Random(11)
    program = tmp_path / "sync_it.py"
    program.write_text(SYNC)
    command = [
        sys.executable,
        str(program),
        oltp.url.render_as_string(hide_password=False),
        warehouse_address,
        str(root / "tests" / "helpers"),
    ]
    for _ in range(3):
        with Warm(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = process.stdout.readline()
            for _ in range(chance.randrange(3)):
                told = process.stdout.readline() or told
            process.kill()
        if told:
            until = time.monotonic() + 20
            while left := [number for number in map(int, told.strip("[]\n").split(",")) if alive(number)]:
                assert time.monotonic() < until, f"readers stay: {left}"
                time.sleep(0.05)
    with warehouse_at(warehouse_address) as warehouse, warehouse_at(str(tmp_path / "alone")) as alone:
        sync(oltp, warehouse, None)
        sync(oltp, alone, None)
        assert everything(warehouse) == everything(alone)


def alive(number: int) -> bool:
    """Whether a process is there, and not merely its end."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

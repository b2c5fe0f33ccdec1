"""Tests of sporeprint.storage.oltp.retention: what goes, what stays, and what a kill leaves."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import URL, Engine, delete, func, insert, select, text

from mariadb_server import MariaDB
from sporeprint.common.progress import SilentProgress
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import UsageError
from sporeprint.settings import PruneSettings
from sporeprint.storage.engine import connect, reading, writing
from sporeprint.storage.oltp import migrate, retention
from sporeprint.storage.oltp.prunable_rows import WarehouseProgress
from sporeprint.storage.oltp.read_progress import Gap, ReadProgress
from sporeprint.storage.oltp.retention import PruneResult
from sporeprint.storage.oltp.tables import ab_test, outcome, prediction
from warm_start import Warm

NOW = 20_000 * DAY_US
ANSWER = {"model": "m", "version": 1, "prediction": "e", "verdict": "edible", "unseen": "[]", "features": "{}", "latency_us": 9}
ANSWER |= {"worker": "w"}
TEST = {"created_us": 1, "mode": "split", "model_a": "a", "version_a": 1, "sha256_a": "0", "model_b": "b", "version_b": 2, "sha256_b": "1"}


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> URL:
    """The address of an OLTP database of each kind, one for all tests: making tables takes longer than most of them."""
    if request.param == "sqlite":
        url = URL.create("sqlite", database=str(tmp_path_factory.mktemp("retention") / "x.db"))
    else:
        server: MariaDB = request.getfixturevalue("_mariadb")
        url = server.url(database=server.create_database())
    engine = connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture
def filled(database: URL) -> Iterator[Engine]:
    """It, with three tests and nothing else: one runs, one is concluded, one has a status nobody knows."""
    engine = connect(database)
    running = [("runs", "running"), ("over", "concluded"), ("odd", "paused")]
    with writing(engine) as connection:
        for table in (prediction, outcome, ab_test):
            connection.execute(delete(table))
        test = {**TEST, "traffic_split": 0.5, "salt": "s", "rule": "{}"}
        connection.execute(insert(ab_test), [{**test, "test_id": name, "name": name, "status": status} for name, status in running])
    yield engine
    engine.dispose()


def answers(engine: Engine, ids: list[str], *, age: float, test_id: str | None = None, revisions: int = 0) -> None:
    """Predictions of an age in days, each with so many revisions of its outcome."""
    made = {**ANSWER, "created_us": int(NOW - age * DAY_US), "recorded_us": NOW, "test_id": test_id}
    known = {"outcome": "e", "source": "lab", "observed_us": NOW, "recorded_us": NOW}
    with writing(engine) as connection:
        connection.execute(insert(prediction), [{**made, "prediction_id": name} for name in ids])
        rows = [{**known, "prediction_id": name, "revision": number + 1} for name in ids for number in range(revisions)]
        if rows:
            connection.execute(insert(outcome), rows)


def ids(engine: Engine, table: Any = prediction) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(table.c.prediction_id).order_by(table.c.seq)).scalars())


def prune(
    engine: Engine,
    *,
    days: float = 90,
    dry_run: bool = False,
    batch_rows: int = 3,
    progress: Any = None,
    warehouse: WarehouseProgress | None = None,
) -> PruneResult:
    settings = PruneSettings(batch_rows=batch_rows)
    return retention.prune(
        engine,
        settings,
        older_than_us=int(days * DAY_US),
        now_us=NOW,
        dry_run=dry_run,
        progress=progress or SilentProgress(),
        warehouse=warehouse,
    )


def test_old_ones_go_with_their_outcomes_and_young_ones_stay(filled: Engine) -> None:
    answers(filled, [f"old{number}" for number in range(10)], age=91, revisions=2)
    answers(filled, ["young"], age=89, revisions=2)
    done = prune(filled)
    assert (done.predictions, done.outcomes, done.retained, done.before_us) == (10, 20, 0, NOW - 90 * DAY_US)
    assert (ids(filled), ids(filled, outcome)) == (["young"], ["young", "young"])


def test_the_boundary_is_exact(filled: Engine) -> None:
    answers(filled, ["exactly"], age=90)
    with writing(filled) as connection:
        row = {**ANSWER, "prediction_id": "older", "created_us": NOW - 90 * DAY_US - 1, "recorded_us": NOW}
        connection.execute(insert(prediction), row)
    prune(filled)
    assert ids(filled) == ["exactly"]


def test_what_a_test_that_is_not_concluded_needs_stays(filled: Engine) -> None:
    for test_id in ("runs", "over", "odd", "unheard_of"):
        answers(filled, [f"{test_id}{number}" for number in range(4)], age=400, test_id=test_id, revisions=1)
    answers(filled, ["free"], age=400)
    done = prune(filled)
    assert (done.predictions, done.outcomes, done.retained) == (5, 4, 12)
    stay = [f"{test_id}{number}" for test_id in ("runs", "odd", "unheard_of") for number in range(4)]
    assert ids(filled) == ids(filled, outcome) == stay


def test_kept_ones_between_the_others_are_passed_over(filled: Engine) -> None:
    for number in range(30):
        answers(filled, [f"{number}"], age=200 - number, test_id="runs" if number % 3 == 0 else None)
    assert prune(filled, batch_rows=2).predictions == 20
    assert ids(filled) == [str(number) for number in range(0, 30, 3)]


def test_many_of_the_same_time_all_go(filled: Engine) -> None:
    answers(filled, [str(number) for number in range(25)], age=100)
    assert prune(filled, batch_rows=4).predictions == 25
    assert ids(filled) == []


def test_an_outcome_without_its_prediction_stays(filled: Engine) -> None:
    with writing(filled) as connection:
        row = {"prediction_id": "unknown", "revision": 1, "outcome": "e", "source": "lab", "observed_us": 1, "recorded_us": 1}
        connection.execute(insert(outcome), row)
    answers(filled, ["old"], age=100)
    prune(filled)
    assert ids(filled, outcome) == ["unknown"]


def test_a_dry_run_counts_what_a_run_takes_and_takes_nothing(filled: Engine) -> None:
    answers(filled, ["a", "b"], age=100, revisions=3)
    answers(filled, ["c"], age=100, test_id="runs", revisions=1)
    dry = prune(filled, dry_run=True)
    assert ids(filled) == ["a", "b", "c"]
    done = prune(filled)
    assert dry.dry_run
    assert (dry.predictions, dry.outcomes, dry.retained) == (done.predictions, done.outcomes, done.retained) == (2, 6, 1)


def test_nothing_younger_than_the_limit_goes_whatever_is_asked(filled: Engine) -> None:
    answers(filled, ["a"], age=29.5)
    with pytest.raises(UsageError, match=r"--older-than 29 days is below storage.prune.min_days: 30; ask for an older age"):
        prune(filled, days=29)
    assert ids(filled) == ["a"]
    prune(filled, days=30)
    assert ids(filled) == ["a"]


def test_a_second_run_finds_nothing(filled: Engine) -> None:
    answers(filled, ["a", "b", "c", "d"], age=100)
    assert prune(filled).predictions == 4
    assert prune(filled) == PruneResult(NOW - 90 * DAY_US, 0, 0, 0, 0, 0.0, dry_run=False)


class Counts(SilentProgress):
    """Remembers how far it is."""

    def __init__(self) -> None:
        self.all: int | None = None
        self.steps: list[int] = []

    def total(self, amount: int | None) -> None:
        self.all = amount

    def advance(self, amount: int) -> None:
        self.steps.append(amount)


def test_progress_and_batches(filled: Engine) -> None:
    answers(filled, [str(number) for number in range(10)], age=100)
    progress = Counts()
    prune(filled, batch_rows=4, progress=progress)
    assert (progress.all, progress.steps) == (10, [4, 4, 2])


# --- killed, and with others at work ---------------------------------------------------------------------------------------

PRUNES = """
import sys
from sqlalchemy import make_url
from sporeprint.common.progress import SilentProgress
from sporeprint.common.timestamps import DAY_US
from sporeprint.settings import PruneSettings
from sporeprint.storage.oltp import retention
from sporeprint.storage.engine import connect
class Tells(SilentProgress):
    def advance(self, amount):
        print(amount, flush=True)
retention.prune(connect(make_url(sys.argv[1])), PruneSettings(batch_rows=20), older_than_us=90 * DAY_US,
    now_us=int(sys.argv[2]), dry_run=False, progress=Tells(), warehouse=None)
"""


def test_a_kill_in_the_middle_leaves_whole_predictions_and_the_next_run_goes_on(filled: Engine, database: URL) -> None:
    old = [f"old{number}" for number in range(2000)]
    answers(filled, old, age=100, revisions=2)
    answers(filled, ["young"], age=1, revisions=2)
    command = [sys.executable, "-c", PRUNES, database.render_as_string(hide_password=False), str(NOW)]
    with Warm(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    left = ids(filled)
    assert 0 < len(left) - 1 <= len(old) - 100
    assert sorted(ids(filled, outcome)) == sorted([*left, *left])
    assert prune(filled, batch_rows=500).predictions == len(left) - 1
    assert (ids(filled), ids(filled, outcome)) == (["young"], ["young", "young"])


@pytest.fixture
def writer(filled: Engine, database: URL) -> Iterator[list[float]]:
    """Somebody who writes all the time; the seconds each write took."""
    waits: list[float] = []
    stop, other = threading.Event(), connect(database)

    def write() -> None:
        while not stop.is_set():
            began = time.monotonic()
            answers(other, [f"new{len(waits)}"], age=0, revisions=1)
            waits.append(time.monotonic() - began)
            time.sleep(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    yield waits
    stop.set()
    thread.join()
    other.dispose()


def test_others_write_meanwhile_and_lose_nothing(filled: Engine, writer: list[float]) -> None:
    answers(filled, [f"old{number}" for number in range(600)], age=100, revisions=1)
    begun = len(writer)
    done = prune(filled, batch_rows=10)
    written = len(writer)
    assert done.predictions == 600
    assert written - begun > 1  # between the batches, not only after the last
    with reading(filled) as connection:
        new = connection.execute(select(func.count()).select_from(prediction).where(prediction.c.prediction_id.like("new%"))).scalar_one()
    assert new >= written
    assert max(writer) < 5


def test_a_batch_is_found_by_the_index_not_by_reading_all(filled: Engine) -> None:
    answers(filled, [str(number) for number in range(50)], age=100)
    query = "SELECT seq FROM prediction WHERE created_us < 5 AND created_us >= 3 ORDER BY created_us LIMIT 2"
    with reading(filled) as connection:
        plan = str(connection.execute(text(f"EXPLAIN {'QUERY PLAN ' * (filled.name == 'sqlite')}{query}")).all())
    assert "ix_prediction_created_us" in plan


def test_what_the_warehouse_has_not_read_stays(filled: Engine) -> None:
    answers(filled, ["read", "in a gap", "outcome unread", "unread"], age=100)
    first = min(seqs(filled, prediction))
    label(filled, "outcome unread")
    (label_seq,) = seqs(filled, outcome)
    progress = ReadProgress(first + 2, (Gap(first + 1, first + 1, 0),))
    dry = prune(filled, dry_run=True, warehouse=WarehouseProgress(progress, ReadProgress(label_seq - 1)))
    done = prune(filled, warehouse=WarehouseProgress(progress, ReadProgress(label_seq - 1)))
    assert (dry.predictions, dry.unsynced, done.predictions, done.unsynced, done.retained) == (1, 3, 1, 3, 0)
    assert ids(filled) == ["in a gap", "outcome unread", "unread"]
    assert prune(filled, warehouse=WarehouseProgress(progress, ReadProgress(label_seq))).predictions == 1
    assert prune(filled, warehouse=WarehouseProgress()).unsynced == 2
    assert prune(filled).predictions == 2


def seqs(engine: Engine, table: Any) -> list[int]:
    with reading(engine) as connection:
        return list(connection.execute(select(table.c.seq).order_by(table.c.seq)).scalars())


def label(engine: Engine, prediction_id: str) -> None:
    row = {"prediction_id": prediction_id, "revision": 1, "outcome": "e", "source": "lab", "observed_us": NOW, "recorded_us": NOW}
    with writing(engine) as connection:
        connection.execute(insert(outcome), [row])

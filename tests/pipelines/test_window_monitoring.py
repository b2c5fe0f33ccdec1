"""The monitor over what a service answered: windows, slices, outcomes that take their time, what is kept; and whatever is wrong."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mariadb_server import MariaDB
from monitor_support import BEGIN_US, DAY_US, HOUR_US, Service, answered, outcomes, service, version
from sporeprint import settings
from sporeprint.errors import DataError, RegistryError, UsageError
from sporeprint.monitoring.realized_performance import PromiseStatus
from sporeprint.monitoring.windows import WindowRequest
from sporeprint.pipelines import window_monitoring
from sporeprint.pipelines.monitoring_files import MonitoringRun
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import write

#: Answers a day.
ROWS = 400
DAY = WindowRequest(last_us=DAY_US)


@pytest.fixture(scope="module")
def _world(_small_run: Path, _small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of rows like those the model was validated on, a fourth with longer stems; of every second the outcome, a day later."""
    root = Path(shutil.copytree(_small_run, tmp_path_factory.mktemp("world") / "work"))
    table = pl.read_csv(small_table, separator=";", infer_schema=False)
    with service(root, _small) as here:
        for day in range(4):
            frame = table.sample(ROWS, seed=day)
            if day == 3:
                frame = frame.with_columns((pl.col("stem-height").cast(pl.Float64) * 1.6).round(2).cast(pl.String))
            rows = answered(root, frame, first_us=BEGIN_US + day * DAY_US, step_us=DAY_US // ROWS)
            true = outcomes(rows, frame.select(pl.when(pl.int_range(pl.len()) % 2 == 0).then("class").alias("c"))["c"], delay_us=DAY_US)
            here.say(rows, [said for said in true if said["recorded_us"] < BEGIN_US + 4 * DAY_US])
    return root


@pytest.fixture
def world(_world: Path, small_config: dict[str, Any], tmp_path: Path) -> Iterator[Service]:
    """A copy of it."""
    with service(Path(shutil.copytree(_world, tmp_path / "world")), small_config) as here:
        yield here


@pytest.fixture
def empty(small_copy: Path, small_config: dict[str, Any]) -> Iterator[Service]:
    """A service that has answered nothing."""
    with service(small_copy, small_config) as here:
        yield here


@pytest.fixture
def frame(small_table: Path) -> pl.DataFrame:
    return pl.read_csv(small_table, separator=";", infer_schema=False).sample(ROWS, seed=0)


def evaluate(here: Service, request: WindowRequest = DAY, *, day: float = 1, minutes: int = 10, **given: Any) -> MonitoringRun:
    now = datetime.fromtimestamp((BEGIN_US + day * DAY_US) / 1e6 + 60 * minutes, UTC)
    return window_monitoring.evaluate(here.settings, here.root, here.warehouse, request, now=lambda: now, **given)


def effects(found: MonitoringRun) -> dict[str, dict[str, float]]:
    return {column.column: dict(column.effects or {}) for column in found.evaluation.drift.columns}


def compared(found: MonitoringRun) -> dict[str, float]:
    """The statistics of numeric columns' values."""
    columns = [column for column in found.evaluation.drift.columns if column.kind == "numeric"]
    return {column.column: check.statistic for column in columns for check in column.checks if check.about == "values"}


def test_a_day_like_those_before(world: Service) -> None:
    found = evaluate(world)
    evaluation = found.evaluation
    assert (evaluation.alarms, evaluation.drift.rows[1], found.unwritten) == ((), ROWS, None)
    assert evaluation.current == f"answers from 2026-03-01 00:00 UTC to 2026-03-02 00:00 UTC by {evaluation.model} (400 rows)"
    assert evaluation.window["kind"] == "last 24h"
    assert sum(evaluation.answered) == ROWS
    assert evaluation.expected is not None
    assert evaluation.expected.rows == ROWS
    assert {"probability", "novelty_p", "verdict"} <= {column.column for column in evaluation.drift.columns}
    latest = world.root / "models/metrics/monitoring/latest.html"
    assert latest.stat().st_size < 2_000_000


def test_counts_and_answers_say_the_same(world: Service) -> None:
    """The same rows, from counts by hour and one by one: equal in everything that has no bins, and near in what has."""
    counted, read = evaluate(world, day=2), evaluate(world, WindowRequest(rows=ROWS), day=2, minutes=0)
    one, other = effects(counted), effects(read)
    assert one.keys() == other.keys()
    for name, found in other.items():
        numeric = "wasserstein" in found
        for effect, value in found.items():
            if effect == "wasserstein":
                assert abs(one[name][effect] - value) <= one[name]["wasserstein_error"] + 0.01, name
            elif effect == "jensen_shannon" and numeric:
                # Probabilities near 0 and 1 share a bin of 64: what differs among them is hidden.
                assert one[name][effect] == pytest.approx(value, abs=0.1 if name in aggregation.SHARES else 0.05), name
            elif not numeric:
                assert one[name][effect] == pytest.approx(value, abs=1e-12), (name, effect)
    # Bins can hide a difference, and make none: Kolmogorov's D does not grow.
    for name, statistic in compared(read).items():
        assert compared(counted)[name] <= statistic + 1e-12, name
    assert counted.evaluation.answered == read.evaluation.answered
    a, b = counted.evaluation.performance, read.evaluation.performance
    assert a is not None
    assert b is not None
    assert (a.labelled, a.accuracy, a.likelier, a.roc_auc) == (b.labelled, b.accuracy, b.likelier, b.roc_auc)
    assert a.brier == pytest.approx(b.brier)
    assert counted.evaluation.expected is not None
    assert read.evaluation.expected is not None
    assert counted.evaluation.expected.accuracy.value == pytest.approx(read.evaluation.expected.accuracy.value, abs=1 / 1024)


def test_both_warehouses_say_the_same(world: Service, mariadb: MariaDB) -> None:
    other = open_warehouse(mariadb.url(database=mariadb.create_database()))
    sync_warehouse(world.engine, other, world.settings.dataset, root=world.root)
    there = Service(world.root, world.settings, world.engine, other)
    for asked in (DAY, WindowRequest(rows=300), WindowRequest(last_us=DAY_US, where=("season=a",))):
        found = []
        for here in (world, there):
            (world.root / "models/metrics/monitoring/state.json").unlink(missing_ok=True)
            found.append(json.loads(json.dumps(evaluate(here, asked, day=4).evaluation.to_dict())))
        assert found[0] == found[1], asked
    other.close()


def test_a_shift_is_an_alarm_of_its_stream_alone(world: Service) -> None:
    assert evaluate(world, day=3).exit_code in {0, 11}
    found = evaluate(world, day=4)
    assert found.exit_code == 10
    assert any("stem-height" in alarm for alarm in found.evaluation.alarms)
    state = json.loads((world.root / "models/metrics/monitoring/state.json").read_text())
    evaluate(world, WindowRequest(rows=200), day=4)
    evaluate(world, WindowRequest(last_us=DAY_US, where=("season=a",)), day=4)
    after = json.loads((world.root / "models/metrics/monitoring/state.json").read_text())
    assert len(state) == 1
    assert len(after) == 3
    assert {**after, **state} == after


def test_outcomes_that_are_still_coming_raise_no_alarm(world: Service, frame: pl.DataFrame) -> None:
    """Of today's answers the first outcomes are here, and all of them bad."""
    rows = answered(world.root, frame, first_us=BEGIN_US + 4 * DAY_US, step_us=DAY_US // ROWS)
    for row in rows:  # so small a model promises nothing, and says unknown
        row["verdict"] = "edible" if row["prediction"] == "e" else row["verdict"]
    wrong = pl.Series(["p" if row["verdict"] == "edible" else None for row in rows], dtype=pl.String)
    world.say(rows, outcomes(rows, wrong, delay_us=HOUR_US))
    found = evaluate(world, day=5).evaluation
    assert not found.mature
    assert found.performance is not None
    assert found.performance.accuracy.value == 0
    assert not any("promised" in alarm for alarm in found.alarms)
    assert any("the window is immature: outcomes may still come" in note for note in found.notes)
    assert [period.mature for period in found.window_history] == [True, True, True, False, False]
    # Two days later they have had their time: the promise is broken, whatever the window is.
    later = evaluate(world, day=8).evaluation
    assert later.performance is not None
    assert later.performance.promise is PromiseStatus.BROKEN
    assert any("promised was at most" in alarm for alarm in later.alarms)
    old = evaluate(world, WindowRequest(begin_us=BEGIN_US + 4 * DAY_US, end_us=BEGIN_US + 5 * DAY_US), day=8).evaluation
    assert old.mature
    assert any("promised was at most" in alarm for alarm in old.alarms)


def test_the_slice_that_fell_most(world: Service, frame: pl.DataFrame) -> None:
    rows = answered(world.root, frame, first_us=BEGIN_US + 4 * DAY_US, step_us=DAY_US // ROWS)
    said = [row["prediction"] for row in rows]
    bruises = frame["does-bruise-or-bleed"].to_list()
    true = [{"e": "p", "p": "e"}[code] if value == "t" else code for code, value in zip(said, bruises, strict=True)]
    world.say(rows, outcomes(rows, pl.Series(true), delay_us=HOUR_US))
    found = evaluate(world, WindowRequest(begin_us=BEGIN_US + 4 * DAY_US, end_us=BEGIN_US + 5 * DAY_US), day=8).evaluation
    assert found.slices is not None
    assert found.slices.worst is not None
    worst = {(item.column, item.value) for item in found.slices.drops if item.significant and item.now.value == 0}
    assert ("does-bruise-or-bleed", "bruises or bleeds") in worst
    assert found.slices.worst.now.value == 0
    assert any("worst slice: " in note and "right 0.0%" in note for note in found.notes)
    page = (world.root / "models/metrics/monitoring/latest.html").read_text(encoding="utf-8")
    assert "Worst slices" in page
    assert "Performance over time" in page


def test_slices_of_a_window(world: Service) -> None:
    found = evaluate(world, WindowRequest(last_us=DAY_US, where=("season=a", "stem-height=..6")), day=1).evaluation
    assert 0 < found.drift.rows[1] < ROWS
    assert found.drift.rows[0] < evaluate(world).evaluation.drift.rows[0]
    assert "season=a, stem-height=-inf..6" in found.current
    assert "with season=a" in found.reference
    with pytest.raises(UsageError, match="no column 'seasons'"):
        evaluate(world, WindowRequest(where=("seasons=a",)))


def test_the_newest_so_many(world: Service) -> None:
    found = evaluate(world, WindowRequest(rows=123), day=6).evaluation
    assert found.drift.rows[1] == 123
    again = evaluate(world, WindowRequest(rows=123), day=7).evaluation
    assert any("evaluated before" in note for note in again.notes)
    assert again.window["evaluation_id"] == found.window["evaluation_id"]
    assert any("fewer than the 9,999" in note for note in evaluate(world, WindowRequest(rows=9_999), day=4).evaluation.notes)
    some = evaluate(world, WindowRequest(rows=30, where=("season=a",)), day=4).evaluation
    assert some.drift.rows[1] == 30


def test_against_the_days_before(world: Service) -> None:
    found = evaluate(world, WindowRequest(last_us=DAY_US, reference_us=2 * DAY_US), day=4).evaluation
    assert found.drift.rows == (2 * ROWS, ROWS)
    assert any("stem-height" in alarm for alarm in found.alarms)
    assert found.reference == "the 48 hours before it"
    part = evaluate(world, WindowRequest(last_us=DAY_US // 2 + 1_000_000 * 60, reference_us=2 * DAY_US), day=4).evaluation
    assert part.drift.rows[0] == 2 * ROWS
    with pytest.raises(UsageError, match="--rows has no begin"):
        evaluate(world, WindowRequest(rows=10, reference_us=DAY_US))


def test_numbers_are_kept_once_and_drawn(world: Service) -> None:
    def kept() -> dict[tuple[str, str], tuple[float, int]]:
        with world.warehouse.reading() as reader:
            rows = reader.query("SELECT run_id, metric, value, created_us FROM fact_metric WHERE run_id LIKE 'monitor-%'").rows
        return {(run, metric): (value, created) for run, metric, value, created in rows}

    first = evaluate(world, day=1)
    once = kept()
    run = first.evaluation.window["evaluation_id"]
    assert once[run, "share_unknown"] == (first.evaluation.answered[2] / ROWS, BEGIN_US + DAY_US)
    assert once[run, "drift:season"][0] == effects(first)["season"]["jensen_shannon"]
    evaluate(world, day=1, minutes=30)
    assert kept() == once
    evaluate(world, day=2)
    assert len({run for run, _ in kept()}) == 2
    page = (world.root / "models/metrics/monitoring/latest.html").read_text(encoding="utf-8")
    assert "Over time" in page
    assert "Drift by column" in page
    over_time = page.partition("Over time")[2].partition("</section>")[0]
    assert over_time.count("<circle") >= 4 * 2 * 2  # four lines of two points, which make no trend yet, for two widths


def test_old_reports_go(world: Service, small_config: dict[str, Any]) -> None:
    chosen = settings.parse(small_config | {"monitoring": {"keep_reports": 2}})
    here = Service(world.root, chosen, world.engine, world.warehouse)
    for day in range(1, 5):
        evaluate(here, day=day)
    names = sorted(path.name for path in (world.root / "models/metrics/monitoring").glob("report_*"))
    assert [name[:15] for name in names] == ["report_20260304", "report_20260304", "report_20260305", "report_20260305"]


def test_an_arm_of_a_test(world: Service, frame: pl.DataFrame) -> None:
    _, name, number = version(world.root)
    at = BEGIN_US + 5 * DAY_US
    test = {"test_id": "t1", "name": "trial", "created_us": at, "mode": "split", "status": "running", "traffic_split": 0.5}
    test |= {"model_a": name, "version_a": number, "model_b": name, "version_b": number, "concluded_us": None, "verdict": None}
    with world.warehouse.loading() as load:
        load.put(star_schema.DIM_TEST, aggregation.frame(star_schema.DIM_TEST, [test]))
    for arm in "ab":
        part = frame.head(250) if arm == "b" else frame.tail(50)
        write(world.engine, answered(world.root, part, first_us=at, step_us=60_000_000, name=arm, test_id="t1", arm=arm))
    # The sync would take the test away again: the database has none.
    known = world.warehouse.get_note("tests")
    with world.warehouse.loading() as load:
        load.note("tests", [])
    world.say([])
    assert known is not None
    found = evaluate(world, WindowRequest(last_us=DAY_US, test="trial", arm="b"), day=6).evaluation
    assert found.drift.rows[1] == 250
    assert "in arm b of trial" in found.current
    for asked, said in (
        (WindowRequest(test="trial"), "belong together"),
        (WindowRequest(arm="a"), "belong together"),
        (WindowRequest(test="other", arm="a"), "no A/B test 'other'.*trial"),
    ):
        with pytest.raises(UsageError, match=said):
            evaluate(world, asked)
    with pytest.raises(UsageError, match="leave --model out"):
        evaluate(world, WindowRequest(test="trial", arm="a"), model="decision_tree" if name != "decision_tree" else "logistic_regression")


# --- what is wrong ---------------------------------------------------------------------------------------------------------


def test_a_warehouse_that_was_never_synced(empty: Service) -> None:
    found = evaluate(empty)
    assert found.exit_code == 11
    assert any("run: sporeprint warehouse sync" in reason for reason in found.evaluation.not_computed)
    assert json.loads((empty.root / "models/metrics/monitoring/latest.json").read_text())["status"] == "not computed"


def test_a_warehouse_of_another_version(world: Service) -> None:
    path = world.root / "data/warehouse/manifest.json"
    path.write_text(path.read_text().replace(f'"star":{star_schema.STAR}', '"star":999'))
    found = evaluate(world)
    assert found.exit_code == 11
    assert any("is of another version" in reason for reason in found.evaluation.not_computed)


def test_a_database_that_is_away(world: Service, mariadb: MariaDB) -> None:
    address = mariadb.url(database=mariadb.create_database())
    away = open_warehouse(address.set(port=1))
    found = evaluate(Service(world.root, world.settings, world.engine, away))
    assert found.exit_code == 11
    assert any("cannot answer now" in reason for reason in found.evaluation.not_computed)
    away.close()
    fresh = open_warehouse(address)
    found = evaluate(Service(world.root, world.settings, world.engine, fresh))
    assert any("run: sporeprint warehouse sync" in reason for reason in found.evaluation.not_computed)
    fresh.close()


def test_an_empty_window_and_a_single_row(world: Service, frame: pl.DataFrame) -> None:
    found = evaluate(world, day=7)
    assert (found.exit_code, found.evaluation.not_computed[0]) == (11, "the current table has no rows")
    assert any("later ones were not given, or not synced" in note for note in found.evaluation.notes)
    world.say(answered(world.root, frame.head(1), first_us=BEGIN_US + 9 * DAY_US, step_us=1))
    for asked in (
        DAY,
        WindowRequest(rows=1),
        WindowRequest(last_us=DAY_US, where=("season=s",)),
        WindowRequest(last_us=DAY_US + 60_000_000),
    ):
        assert evaluate(world, asked, day=10).exit_code == 11, asked


def test_answers_of_this_hour_are_not_in_a_window_yet(empty: Service, frame: pl.DataFrame) -> None:
    empty.say(answered(empty.root, frame, first_us=BEGIN_US, step_us=1))
    found = evaluate(empty, day=0, minutes=40)
    assert found.exit_code == 0  # the first hour of a service is no fault
    assert any("the last full hour" in note and "--rows" in note for note in found.evaluation.notes)


def test_columns_that_broke(world: Service, frame: pl.DataFrame) -> None:
    broken = frame.with_columns(
        pl.lit("5.5").alias("cap-diameter"),
        pl.lit(None, dtype=pl.String).alias("gill-color"),
        pl.lit("strange").alias("season"),
        pl.lit("big").alias("stem-width"),
    )
    rows = answered(world.root, broken, first_us=BEGIN_US + 6 * DAY_US, step_us=DAY_US // ROWS)
    for row in rows:
        row["probability"], row["prediction"], row["novelty_p"] = (
            row["probability"] or 0.5,
            row["prediction"] or "e",
            row["novelty_p"] or 0.0,
        )
    world.say(rows)
    for asked in (DAY, WindowRequest(rows=ROWS)):
        found = evaluate(world, asked, day=7).evaluation
        alarms = "\n".join(found.alarms)
        assert "gill-color: missing in 100% of the rows" in alarms
        assert "season: 100% of the values are new" in alarms
        assert "cap-diameter: shifted" in alarms
        assert "stem-width: missing in 100%" in alarms
        assert any(text.startswith("stem-width, values: the current table has no value") for text in found.not_computed)
        assert any("400 values are no finite numbers" in " ".join(column.notes) for column in found.drift.columns)


def test_scores_that_are_none(world: Service, frame: pl.DataFrame) -> None:
    rows = answered(world.root, frame, first_us=BEGIN_US + 6 * DAY_US, step_us=DAY_US // ROWS)
    world.say(rows)
    # No database takes NaN for a number; a warehouse may have been filled by others.
    cell = {**{name: rows[0].get(name) or "" for name in ("model", "version", "test_id", "arm")}, "hour_us": BEGIN_US + 6 * DAY_US}
    nan = {**cell, "feature": "probability", "kind": "number", "value": "", "low": float("nan"), "high": float("nan"), "answers": 7}
    with world.warehouse.loading() as load:
        load.add(star_schema.HOUR_FEATURES, aggregation.frame(star_schema.HOUR_FEATURES, [nan]))
    found = evaluate(world, day=7).evaluation
    column = next(column for column in found.drift.columns if column.column == "probability")
    assert column.invalid == 7


def test_outcomes_of_one_class(world: Service, frame: pl.DataFrame) -> None:
    rows = answered(world.root, frame, first_us=BEGIN_US + 6 * DAY_US, step_us=DAY_US // ROWS)
    world.say(rows, outcomes(rows, pl.Series(["p"] * ROWS), delay_us=HOUR_US))
    found = evaluate(world, day=9, request=WindowRequest(begin_us=BEGIN_US + 6 * DAY_US, end_us=BEGIN_US + 7 * DAY_US)).evaluation
    assert any("all outcomes are of one class" in reason for reason in found.not_computed)
    assert found.mature


def test_a_clock_in_the_future(world: Service, frame: pl.DataFrame) -> None:
    world.say(answered(world.root, frame.head(40), first_us=BEGIN_US + 300 * DAY_US, step_us=1))
    for asked in (DAY, WindowRequest(rows=100)):
        found = evaluate(world, asked, day=2).evaluation
        assert any("823 answers are dated later than now, 2026-03-03 00:10 UTC" in note for note in found.notes)
        assert found.drift.rows[1] in {ROWS, 100}


def test_a_model_that_answered_otherwise_than_its_contract(world: Service, frame: pl.DataFrame) -> None:
    """Answers of a version with another table: what it has is compared, what it lacks is named."""
    _, name, number = version(world.root)
    cell = {"hour_us": BEGIN_US + 6 * DAY_US, "model": name, "version": number, "test_id": "", "arm": ""}
    rows = [
        {**cell, "feature": "petal", "kind": "value", "value": "v", "low": 0.0, "high": 0.0, "answers": 100},
        {**cell, "feature": "season", "kind": "number", "value": "", "low": 1.0, "high": 1.0625, "answers": 100},
    ]
    with world.warehouse.loading() as load:
        load.add(star_schema.HOUR_FEATURES, aggregation.frame(star_schema.HOUR_FEATURES, rows))
        answers = {**cell, "verdict": "edible", "answers": 100, "latency_sum_us": 1, "latency_sum_us2": 1.0}
        load.add(star_schema.HOUR_ANSWERS, aggregation.frame(star_schema.HOUR_ANSWERS, [answers]))
    found = evaluate(world, day=7).evaluation
    assert found.exit_code == 10 if found.alarms else found.exit_code == 11
    assert "season, values: numeric in one table, nominal in the other" in found.not_computed
    assert "cap-shape, values: the current table has no column 'cap-shape'" in found.not_computed
    assert any("columns that are not looked at" in note and "petal" in note for note in found.notes)
    assert any(reason.startswith("expected performance: no row has a probability") for reason in found.not_computed)


def test_without_the_rows_that_it_was_validated_on(world: Service) -> None:
    (world.root / "data/model_input/validation.parquet").unlink()
    with pytest.raises(DataError, match="name an earlier window with --reference-last"):
        evaluate(world)
    assert evaluate(world, WindowRequest(last_us=DAY_US, reference_us=2 * DAY_US), day=3).evaluation.drift.rows == (2 * ROWS, ROWS)


def test_no_model(world: Service) -> None:
    with pytest.raises(RegistryError, match="nobody"):
        evaluate(world, model="nobody")


def test_what_cannot_be_written_is_said(world: Service) -> None:
    folder = world.root / "models/metrics/monitoring"
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("in the way")
    (world.root / "data/warehouse/.lock").unlink()
    (world.root / "data/warehouse/.lock").mkdir()
    found = evaluate(world)
    assert found.unwritten is not None
    assert "the numbers of this evaluation are not in the warehouse" in found.unwritten
    assert "monitoring" in found.unwritten
    assert found.exit_code == (6 if found.evaluation.exit_code == 0 else found.evaluation.exit_code)


def test_a_sync_that_failed_is_not_fine(world: Service) -> None:
    found = evaluate(world, failed={"sync": "the database is away; the newest answers may be missing"})
    assert found.exit_code in {10, 11}
    assert "sync: the database is away; the newest answers may be missing" in found.evaluation.not_computed


def test_batches_count(world: Service, frame: pl.DataFrame) -> None:
    """A batch's answers are of one moment, and of no test."""
    rows = answered(world.root, frame, first_us=BEGIN_US + 6 * DAY_US + HOUR_US, step_us=0, batch_id="b1")
    write(world.engine, rows, tables.prediction)
    world.say([])
    assert evaluate(world, day=7).evaluation.drift.rows[1] == ROWS
    assert evaluate(world, WindowRequest(rows=ROWS), day=7).evaluation.drift.rows[1] == ROWS


def test_in_the_first_hour_there_is_nothing_to_compare_and_that_is_no_fault(empty: Service, frame: pl.DataFrame) -> None:
    empty.say(answered(empty.root, frame.head(40), first_us=BEGIN_US + 60_000_000, step_us=1_000_000))
    found = evaluate(empty, day=0)
    assert (found.exit_code, found.evaluation.not_computed) == (0, ())
    assert any(note.startswith("no whole hour has passed since the first answer") for note in found.evaluation.notes)
    # A service that fell silent is another thing.
    assert evaluate(empty, day=4).exit_code == 11


def test_earlier_windows_are_read_from_the_warehouse(empty: Service, frame: pl.DataFrame) -> None:
    for day in range(30):
        rows = frame.sample(60, seed=day)
        empty.say(answered(empty.root, rows, first_us=BEGIN_US + day * DAY_US, step_us=DAY_US // 60))
    few, enough = evaluate(empty, day=28), evaluate(empty, day=30)
    assert any("27 earlier windows of the 28 that are needed" in note for note in few.evaluation.notes)
    assert any("29 earlier windows say how much windows differ" in note for note in enough.evaluation.notes)
    checks = [check for column in enough.evaluation.drift.columns for check in column.checks]
    assert any(check.between is not None for check in checks)
    assert enough.evaluation.alarms == ()
    assert enough.evaluation.expected_by_component is not None
    assert "accuracy, by component" in str(enough.tables())

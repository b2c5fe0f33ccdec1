"""A table whose columns are named as those of answered rows says all that it says under other names."""

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from journal_support import until
from serving_support import Client
from sporeprint import settings
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import DataError
from sporeprint.model_serving.api import create_app
from sporeprint.monitoring.windows import WindowRequest
from sporeprint.pipelines import window_monitoring
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.pipelines.draft import draft_configuration, write_draft
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.monitoring import monitor
from sporeprint.pipelines.monitoring_files import MonitoringRun
from sporeprint.pipelines.retraining import retrain
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from table_cases import csv, loans

#: Answers that name no column of the table.
SAID = ("verdict", "unknown", "novelty_p", "prediction", "probability")
FEATURES = ("income", "age", "debt", "city", "product")
#: Names of the table of loans -> those of the same table, with names that answered rows have.
TABLES = {
    "features": {
        "income": "probability",
        "age": "novelty_p",
        "debt": "prediction",
        "city": "verdict",
        "product": "reason",
        "late": "outcome",
    },
    "target": {"age": "prediction_id", "debt": "look_at", "city": "problem", "product": "unknown", "late": "verdict"},
}
OVERRIDES = ["runtime.threads=1", "evaluation.replicates=100", "gate.margin=0.99", "retrain.least_rows=50", "retrain.days=null"]
# The words of the classes are made of the target's name.
OVERRIDES += [
    "models.xgboost.rounds=30",
    "dataset.target.values.0=paid",
    "dataset.target.values.1=late",
]
PARTS = ["split.by=column", "split.column=part"]


@dataclass(frozen=True)
class World:
    """A work directory with a model, and the names of its table's columns."""

    root: Path
    names: dict[str, str]

    @property
    def chosen(self) -> settings.Settings:
        return settings.load_settings(self.root / "config/config.yaml", environ={}, overrides=[*OVERRIDES, *PARTS])

    @property
    def without_parts(self) -> settings.Settings:
        """For rows that no column names the part of."""
        return settings.load_settings(self.root / "config/config.yaml", environ={}, overrides=OVERRIDES)

    def named(self, name: str) -> str:
        return self.names.get(name, name)

    def frame(self, rows: int = 300, seed: int = 5) -> pl.DataFrame:
        """Rows like those of the table."""
        texts = {self.named(name): [str(value) for value in values] for name, values in loans(rows, seed=seed).items()}
        return pl.DataFrame(texts)


def trained(root: Path, names: dict[str, str]) -> World:
    root.mkdir()
    # A row's hash, which else decides its part, is one of the names too.
    shares = {"train": 10, "early_stop": 2, "calibration": 2, "threshold": 3, "test": 3}
    part = [name for name, share in shares.items() for _ in range(share)] * 30
    columns = {names.get(name, name): values for name, values in loans().items()}
    (table := root / "loans.csv").write_text(csv({**columns, "part": part}))
    world = World(root, names)
    draft = draft_configuration(str(table), root, target=world.named("late"))
    text = "".join(line for line in draft.text.splitlines(keepends=True) if not line.startswith("    part:"))
    write_draft(replace(draft, text=text), root / "config/config.yaml")
    run_etl(world.chosen, root)
    return world


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> World:
    return trained(tmp_path_factory.mktemp("plain") / "work", {})


@pytest.fixture(scope="module", params=TABLES)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return trained(tmp_path_factory.mktemp(request.param) / "work", TABLES[request.param])


def copied(world: World, root: Path) -> World:
    return World(Path(shutil.copytree(world.root, root)), world.names)


def answers(world: World, source: Path, out: Path, **options: Any) -> pl.DataFrame:
    predict(world.root, source, out, **options)
    return pl.read_csv(out, infer_schema=False) if out.suffix == ".csv" else pl.read_parquet(out)


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def alike(found: MonitoringRun, expected: MonitoringRun, world: World) -> None:
    """Two evaluations that differ in names alone: those of the table's columns as answered rows have them."""
    own = world.chosen.dataset.own_names
    names = {name: own.get(world.named(name), world.named(name)) for name in (*FEATURES, "late")}
    one, other = found.evaluation, expected.evaluation
    assert {item.column: item.checks for item in one.drift.columns} == {
        names.get(item.column, item.column): item.checks for item in other.drift.columns
    }
    assert len(one.alarms) == len(other.alarms)
    assert (one.answered, one.performance, one.expected) == (other.answered, other.performance, other.expected)
    assert {item.column: item.importance for item in one.ranking} == {
        names.get(item.column, item.column): item.importance for item in other.ranking
    }
    assert (one.slices is None) == (other.slices is None)
    assert len(one.not_computed) == len(other.not_computed)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("labelled", [True, False])
def test_rows_are_answered_as_under_other_names(ending: str, labelled: bool, odd: World, plain: World, tmp_path: Path) -> None:
    said = []
    for number, world in enumerate((odd, plain)):
        frame = world.frame() if labelled else world.frame().drop(world.named("late"))
        said.append(answers(world, written(frame, tmp_path / f"rows{number}{ending}"), tmp_path / f"answers{number}{ending}"))
        expected = frame.rename(world.chosen.dataset.as_answered(frame.columns))
        assert_frame_equal(said[-1].select(expected.columns).cast(pl.String), expected)
    assert_frame_equal(said[0].select(SAID), said[1].select(SAID))
    again = answers(odd, tmp_path / f"answers0{ending}", tmp_path / f"again{ending}")
    assert_frame_equal(again.select(SAID), said[0].select(SAID))
    scores = answers(odd, tmp_path / f"answers0{ending}", tmp_path / f"scores{ending}", guarded=False)
    assert_frame_equal(scores.select("probability"), said[0].select("probability"))


def test_the_training_table_is_no_alarm(odd: World, plain: World, tmp_path: Path) -> None:
    one, other = (copied(world, tmp_path / str(number)) for number, world in enumerate((odd, plain)))
    found, expected = (monitor(world.chosen, world.root, world.root / "loans.csv") for world in (one, other))
    assert found.evaluation.alarms == ()
    alike(found, expected, odd)
    assert found.evaluation.performance is not None


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("labelled", [True, False])
def test_answered_rows_are_told_from_their_answers(ending: str, labelled: bool, odd: World, plain: World, tmp_path: Path) -> None:
    found = []
    for number, world in enumerate((odd, plain)):
        here = copied(world, tmp_path / str(number))
        frame = world.frame() if labelled else world.frame().drop(world.named("late"))
        answered = tmp_path / f"answers{number}{ending}"
        # A third more than half: answers that the monitor does not make itself.
        said = answers(here, written(frame, tmp_path / f"rows{number}{ending}"), answered)
        written(said.with_columns(probability=pl.lit(0.75), verdict=pl.lit("late")), answered)
        found.append(monitor(here.chosen, here.root, answered))
    alike(found[0], found[1], odd)
    assert found[0].evaluation.expected is not None
    assert found[0].evaluation.expected.accuracy.value == pytest.approx(0.75)
    assert (found[0].evaluation.performance is not None) == labelled


def test_an_answered_table_can_be_trained_on(odd: World, plain: World, tmp_path: Path) -> None:
    tables = []
    for number, world in enumerate((odd, plain)):
        here = copied(world, tmp_path / str(number))
        written(world.frame(), tmp_path / "rows.csv")
        answers(here, tmp_path / "rows.csv", tmp_path / "answers.csv")
        run_etl(here.without_parts, here.root, source=str(tmp_path / "answers.csv"))
        tables.append(pl.read_parquet(here.root / "data/processed/loans.parquet").rename({world.named(name): name for name in loans(1)}))
    assert_frame_equal(*(table.select(*FEATURES, "late").cast(pl.String).sort(FEATURES) for table in tables))


def test_two_columns_that_the_contract_cannot_tell_apart_are_refused(odd: World, tmp_path: Path) -> None:
    name, own = next(iter(odd.chosen.dataset.own_names.items()))
    table = written(odd.frame().with_columns(pl.lit("x").alias(own)), tmp_path / "rows.csv")
    with pytest.raises(DataError, match=f"beside the column '{name}' there is '{own}', .*; rename or remove '{own}'"):
        run_etl(odd.without_parts, tmp_path / "other", source=str(table))


def served(world: World) -> tuple[list[MonitoringRun], Sequence[Any]]:
    """A service is asked in every way, its answers are synced, monitored and learnt from."""
    chosen, root, frame = world.chosen, world.root, world.frame().drop(world.named("late"))
    numbers = [world.named(name) for name in ("income", "age", "debt")]
    typed = frame.cast(dict.fromkeys(numbers, pl.Float64))
    one, two, three = (slice(start, start + 100) for start in (0, 100, 200))
    with Client(create_app(chosen, root, worker="w")) as client:
        said = [client.post("/predict/batch", json=typed[one].to_dicts()).json()["predictions"]]
        headers = {"content-type": "text/csv"}
        text = pl.read_csv(client.post("/predict/batch", content=frame[two].write_csv(), headers=headers).content, infer_schema=False)
        typed[three].write_parquet(out := io.BytesIO())
        headers = {"content-type": "application/vnd.apache.parquet"}
        file = pl.read_parquet(client.post("/predict/batch", content=out.getvalue(), headers=headers).content)
        ids = [*(each["prediction_id"] for each in said[0]), *text["prediction_id"], *file["prediction_id"]]
        stored = [client.get(f"/predictions/{name}").json()["features"] for name in (ids[0], ids[100], ids[200])]
        assert [{name: str(value) for name, value in each.items()} for each in stored] == [
            {name: str(float(value)) if name in numbers and row != 100 else value for name, value in frame.row(row, named=True).items()}
            for row in (0, 100, 200)
        ]
        again = client.post("/predict/batch", content=text.write_csv(), headers={"content-type": "text/csv"})
        assert again.status_code == 200, again.text
        assert pl.read_csv(again.content, infer_schema=False)["probability"].to_list() == text["probability"].to_list()
        listed = client.get("/predictions", params={"batch_id": text["prediction_id"][0].split(":")[0], "limit": 1})
        assert listed.status_code == 200, listed.text
        late = world.frame()[world.named("late")]
        told = [{"prediction_id": name, "outcome": value} for name, value in zip(ids, late, strict=True)]
        assert client.post("/predictions/outcomes", json=told).json()["created"] == 300
    engine, warehouse = connect(urls.oltp(chosen.storage, root, {})), open_warehouse(urls.olap(chosen.storage, root, {}))
    taken = [0]

    def whole() -> bool:
        taken.append(sync_warehouse(engine, warehouse, chosen.dataset, root=root).predictions)
        return sum(taken) == 400

    until(whole)
    where = (f"{world.named('city')}=Como", f"{world.named('income')}=..3000")
    requests = (WindowRequest(rows=400), WindowRequest(rows=400, where=where), WindowRequest(last_us=DAY_US))
    later = datetime.now(UTC) + timedelta(hours=2)
    runs = [window_monitoring.evaluate(chosen, root, warehouse, request, now=lambda: later) for request in requests]
    assert [sum(run.evaluation.answered) > 0 for run in runs] == [True] * 3
    with warehouse.reading() as reader:
        counts = reader.query("SELECT feature, kind, value, SUM(answers) FROM hour_features GROUP BY feature, kind, value").rows
    engine.dispose()
    warehouse.close()
    return runs, counts


def test_what_is_served_is_counted_as_under_other_names(odd: World, plain: World, tmp_path: Path) -> None:
    one, other = (copied(world, tmp_path / str(number)) for number, world in enumerate((odd, plain)))
    (found, counts), (expected, plain_counts) = served(one), served(other)
    own = odd.chosen.dataset.own_names
    names = {name: own.get(odd.named(name), odd.named(name)) for name in FEATURES}
    assert sorted(map(tuple, counts)) == sorted((names.get(name, name), *rest) for name, *rest in plain_counts)
    for each, like in zip(found, expected, strict=True):
        alike(each, like, odd)
    tables = []
    for world in (one, other):
        done = retrain(world.without_parts, world.root, actor="ada")
        assert done.challenger is not None, done.reason
        table = pl.read_parquet(world.root / "data/processed/loans.parquet").rename({world.named(name): name for name in loans(1)})
        tables.append(table.select(*FEATURES, "late").cast(pl.String).sort(FEATURES))
    assert tables[0].height == 900
    assert_frame_equal(*tables)

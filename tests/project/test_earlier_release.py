"""What an earlier release left on a disk is read, or refused with the command that brings it over. `earlier_release/make.py` made it."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import joblib
import pytest
from sqlalchemy import Engine, func, select

from sporeprint import settings
from sporeprint.errors import SporeprintError, StorageError
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema
from sporeprint.storage import urls
from sporeprint.storage.engine import connect, reading
from sporeprint.storage.journal.file import JournalFile, find
from sporeprint.storage.journal.shipper import ship_once
from sporeprint.storage.oltp import batch_index, migrate, outcomes, predictions, tables
from sporeprint.storage.oltp.batch_file import BatchInfo, BatchStore
from sporeprint.storage.warehouse.parquet_warehouse import ParquetWarehouse
from sporeprint.storage.warehouse.sync import sync_warehouse

#: Commands that bring something over, as messages name them.
WAYS = r"train the model again|run: sporeprint (etl|db upgrade|warehouse sync)|register the model again"
BATCH = "0" * 31 + "a"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    # By the program: Python 3.11.2, which Debian 12 has, knows no filters yet, and later ones want one.
    subprocess.run(["tar", "-xJf", Path(__file__).parent / "earlier_release" / "work.tar.xz", "-C", tmp_path], check=True)
    return tmp_path


@pytest.fixture
def engine(work: Path) -> Iterator[Engine]:
    engine = connect(urls.oltp(settings.StorageSettings(), work, {}))
    yield engine
    engine.dispose()


def refusal_of(call: Callable[[], object]) -> str | None:
    """The message with which something is refused; None if it is not."""
    try:
        call()
    except SporeprintError as error:
        return str(error)
    return None


def test_the_registry_is_read_or_says_what_to_do(work: Path) -> None:
    registry = Registry(work / "models/registry")
    production = registry.production()
    assert production is not None
    assert production.ref == "logistic_regression/v1"
    assert registry.verify("production") == ()
    refusal = refusal_of(lambda: registry.load("production"))
    assert refusal is None or re.search(WAYS, refusal)


def test_an_estimator_that_cannot_be_read_leaves_what_serves_untouched(work: Path) -> None:
    """A joblib file names the class's module, which has moved: docs/operations.md says to train the model again."""
    path = work / "models/registry/logistic_regression/v1/logistic_regression.joblib"
    with pytest.raises(ModuleNotFoundError, match=r"sporeprint\.estimator"):
        joblib.load(path)


def test_the_database_is_refused_with_the_command_that_brings_it_over(engine: Engine) -> None:
    with reading(engine) as connection:
        before = connection.execute(select(func.count()).select_from(tables.prediction)).scalar_one()
    if migrate.status(engine).state != "current":
        with pytest.raises(StorageError, match="run: sporeprint db upgrade"):
            migrate.check(engine)
        migrate.upgrade(engine)
    migrate.check(engine)
    assert before == 20
    record = predictions.find(engine, "id-0003")
    assert record is not None
    assert (record.verdict, record.features, record.unseen) == ("poisonous", {"cap-shape": "x", "cap-diameter": 5.5}, ("habitat",))
    outcome = outcomes.latest(engine, "id-0001")
    assert outcome is not None
    assert (outcome.outcome, outcome.revision) == ("e", 2)


def test_a_journal_is_read_and_shipped(work: Path, engine: Engine) -> None:
    migrate.upgrade(engine)
    assert find(work / "data/journal", "id-0022") is not None
    with closing(JournalFile.open(work / "data/journal", "w1")) as file:
        assert file.depth == 5
        assert ship_once(file, engine).rows == 5
    assert predictions.find(engine, "id-0024") is not None


def test_a_batch_is_read(work: Path) -> None:
    store = BatchStore(work, "data/batches")
    info = BatchInfo.of(store.path(BATCH))
    assert (info.rows, info.columns, dict(info.verdicts)) == (1, ("cap-shape",), {"edible": 1})
    record = batch_index.find(store, f"{BATCH}:0")
    assert record is not None
    assert record.verdict == "edible"


def test_a_warehouse_goes_on_where_it_was(work: Path, engine: Engine) -> None:
    migrate.upgrade(engine)
    warehouse = ParquetWarehouse(work / "data/warehouse")
    schema = DatasetSchema.model_validate(json.loads((work / "config.json").read_text())["dataset"])
    if refusal := refusal_of(lambda: warehouse.get_note("prediction")):
        assert "run: sporeprint warehouse sync" in refusal
        return
    with warehouse.reading() as reader:
        assert reader.query("SELECT COUNT(*) FROM fact_prediction").rows == ((21,),)
        assert reader.query("SELECT COUNT(*) FROM fact_outcome WHERE latest = 1").rows == ((1,),)
    with closing(JournalFile.open(work / "data/journal", "w1")) as file:
        ship_once(file, engine)
    assert sync_warehouse(engine, warehouse, schema, root=work).predictions == 5

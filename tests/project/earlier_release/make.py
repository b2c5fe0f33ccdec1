"""Makes `work.tar.xz`: what release f689161 left on a disk, small. Run with that release's source:

    PYTHONPATH=<checkout of f689161>/src python tests/project/earlier_release/make.py <checkout of f689161>

A registry with one version (promoted twice), a database with predictions, outcomes, a batch and an A/B test, a journal with what was
not shipped, a warehouse, and the batch's file.
"""

import copy
import io
import json
import sys
import tarfile
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from sporeprint.simulate import simulate
from sporeprint.storage.artefact import About, Draft, Store
from sporeprint.storage.journal_file import JournalFile
from sporeprint.storage.prediction import PredictionRecord
from sporeprint.storage.sync import sync
from sporeprint.storage.warehouse_parquet import ParquetWarehouse

from sporeprint import pipeline, settings
from sporeprint.registry import Registry
from sporeprint.storage import batches, migrate, outcomes, shipper, urls
from sporeprint.storage.engine import connect

NOW_US = 1_790_000_000_000_000
HERE = Path(__file__).parent
KEPT = ("models/registry", "data/sporeprint.db", "data/journal", "data/warehouse", "data/batches", "config.json")


def configuration(checkout: Path) -> dict[str, Any]:
    raw: dict[str, Any] = copy.deepcopy(yaml.safe_load((checkout / "config/config.yaml").read_text()))
    raw["dataset"]["groups"] = {"name": "species", "block_rows": 20}
    raw["source"] = {"path": "data/raw/table.csv", "fallback": "fail"}
    raw["models"] = {"logistic_regression": raw["models"]["logistic_regression"]}
    raw["evaluation"] = {"folds": 3, "replicates": 100}
    raw["runtime"] |= {"threads": 1}
    raw["selection"] = {"metric": "mcc", "on": "seen"}
    return raw


def record(number: int) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=f"id-{number:04d}",
        created_us=NOW_US + number,
        model="logistic_regression",
        version=1,
        prediction="p",
        verdict="poisonous",
        features={"cap-shape": "x", "cap-diameter": 5.5},
        latency_us=900,
        worker="w",
        probability=0.75,
        novelty_p=0.5,
        threshold=0.2,
        unseen=("habitat",),
    )


def make(checkout: Path, root: Path) -> None:
    raw = configuration(checkout)
    config = settings.parse(raw)
    (root / "config.json").write_text(json.dumps(raw))
    table = root / "table.csv"
    simulate(config.dataset, table, rows=600, groups=15, seed=3).sidecar.unlink()
    pipeline.etl(config, root, source=str(table))
    registry, now = Registry(root / "models/registry"), datetime(2026, 9, 1, tzinfo=UTC)
    registry.set_production("logistic_regression/v1", reason="first", now=now)
    engine = connect(urls.oltp(config.storage, root, {}))
    migrate.upgrade(engine)
    with closing(JournalFile.open(root / "data/journal", "w1")) as file:
        file.append([(one.prediction_id, one.to_bytes()) for one in map(record, range(20))])
        shipper.ship_once(file, engine)
        outcomes.record(engine, "id-0001", "p", source="lab", observed_us=None, now_us=NOW_US + 100, key="k-1")
        outcomes.record(engine, "id-0001", "e", source="lab", observed_us=None, now_us=NOW_US + 200)
        store = Store(root, "data/batches")
        batch_id = "0" * 31 + "a"
        with store.part("artefact") as path:
            draft = Draft(path)
            draft.write(
                pl.DataFrame(
                    {
                        "row": [0],
                        "cap-shape": ["x"],
                        "prediction_id": [f"{batch_id}:0"],
                        "prediction": ["e"],
                        "probability": [0.1],
                        "verdict": ["edible"],
                        "novelty_p": [0.6],
                        "unseen": pl.Series([None], dtype=pl.String),
                        "outside": pl.Series([None], dtype=pl.String),
                        "reason": pl.Series([None], dtype=pl.String),
                    }
                )
            )
            numbers: Any = (NOW_US, "logistic_regression", 1, 0.2, False, 1, 0, {"edible": 1}, 1000)
            about = About(batch_id, *numbers, "w1", "csv", ("cap-shape",), "0" * 64)
            draft.close(about)
            store.publish(path, batch_id)
        batches.register(engine, store)
        sync(engine, ParquetWarehouse(root / "data/warehouse"), config.dataset, root=root, clock=lambda: NOW_US + 10**12)
        file.append([(one.prediction_id, one.to_bytes()) for one in map(record, range(20, 25))])
    engine.dispose()


def main() -> None:
    checkout = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(checkout, root)
        with tarfile.open(HERE / "work.tar.xz", "w:xz") as archive:
            for name in KEPT:
                for path in sorted([root / name, *(root / name).rglob("*")]):
                    if path.is_file() and path.suffix != ".lock":
                        data = path.read_bytes()
                        info = tarfile.TarInfo(path.relative_to(root).as_posix())
                        info.size, info.mode = len(data), 0o644
                        archive.addfile(info, io.BytesIO(data))
    print(f"{(HERE / 'work.tar.xz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

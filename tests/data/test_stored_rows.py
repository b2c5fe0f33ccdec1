"""Rows of published files: what is fitted on all of them is the same in one process and in several."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from sporeprint import settings
from sporeprint.common.engine import Engine, LocalEngine
from sporeprint.common.workdir import Workdir
from sporeprint.data.part_files import PartFile, part_path, write_manifest
from sporeprint.data.training_data import HERE, KNOWN, ModelInput, read_input
from sporeprint.errors import DataError
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder_fit import column_transforms
from sporeprint.models.training import fit_model
from sporeprint.models.training_rows import fit_encoder_and_rows
from sporeprint.safety.decision_rule import fit_guards
from sporeprint.safety.nearest_neighbour import reference_rows
from sporeprint.settings import Settings

PARTS = 5


class Nodes(LocalEngine):
    """Processes of this machine that share no memory, as those of a cluster."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.nodes = workers


@pytest.fixture(params=[2, 3])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with closing(Nodes(request.param)) as engine:
        yield engine


@pytest.fixture
def chosen(small_config: dict[str, Any]) -> Settings:
    small_config["runtime"] = {**small_config.get("runtime", {}), "most_rows": 300}
    return settings.parse(small_config)


@pytest.fixture
def workdir(small_copy: Path) -> Workdir:
    """The small run, its tables in part files; of each kind of rows the last part has none."""
    for name in ("train", "validation", "test"):
        table = small_copy / f"data/model_input/{name}.parquet"
        rows = pq.read_table(table)
        table.unlink()
        table.mkdir()
        files = []
        for number in range(PARTS):
            path = part_path(table, number, PARTS)
            part = rows.slice(number * 200, 200) if number < PARTS - 2 else rows.slice(600) if number == PARTS - 2 else rows.slice(0, 0)
            pq.write_table(part, path)
            files.append(PartFile.of(path, part.num_rows))
        write_manifest(table, files)
    return Workdir(small_copy)


def test_what_is_counted_is_equal_byte_by_byte_on_every_engine(chosen: Settings, workdir: Workdir, engine: Engine) -> None:
    assert fits(chosen, read_input(chosen, workdir)) == fits(chosen, read_input(chosen, workdir, engine))


def fits(chosen: Settings, data: ModelInput) -> list[Any]:
    known = data.known(chosen, KNOWN)
    guard, partial = fit_guards(
        known, data.part(chosen, "calibration"), data.part(chosen, "threshold"), chosen.dataset, chosen.guard, seed=1, is_rehearsed=False
    )
    found: list[Any] = [guard.to_bytes(), partial.to_bytes(), reference_rows(known.batches, guard, most=3).to_bytes()]
    for model in chosen.models.values():
        transforms = column_transforms(chosen.transform, model, chosen.dataset)
        encoder, rows = fit_encoder_and_rows(data.known(chosen, ("train",)), transforms, seed=1)
        found.append(encoder.to_json())
        if "Logistic" in model.estimator:
            fitted = fit_model(model, rows, rows.sample(1), seed=1, threads=1, most_rows=300).estimator
            found.append((fitted.coef_.tolist(), fitted.intercept_.tolist(), fitted.n_iter_.tolist()))
    return [*found, data.train.row.tolist(), data.validation.row.tolist()]


def test_boosting_in_several_processes_differs_by_the_order_of_its_sums_alone(chosen: Settings, workdir: Workdir, engine: Engine) -> None:
    model = chosen.models["xgboost"].model_copy(update={"params": {"max_bin": 8}})  # fewer than there are values
    transforms = column_transforms(chosen.transform, model, chosen.dataset)
    scores, rounds = [], []
    for where in (HERE, engine):
        data = read_input(chosen, workdir, where)
        stop = data.part(chosen, "early_stop")
        encoder, rows = fit_encoder_and_rows(data.known(chosen, ("train",)), transforms, seed=1)
        seen: list[int] = []
        fitted = fit_model(model, rows, EncodedRows(encoder.matrix(stop.codes), stop.y), seed=1, threads=1, each_round=seen.append)
        scores.append(encoder.scored(data.test.codes, fitted.score))
        rounds.append(len(seen))
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    assert rounds[0] > 0 == rounds[1]  # of other processes nobody counts them


def test_rows_come_in_the_order_of_the_files(chosen: Settings, workdir: Workdir) -> None:
    rows = [row for batch in read_input(chosen, workdir).known(chosen, ("train",)).batches for row in batch.row.tolist()]
    table = workdir.model_input / "train.parquet"
    assert rows == pl.read_parquet(table / "*.parquet")["_row"].to_list()
    (table / "part-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"part-00001\.parquet is missing"):
        read_input(chosen, workdir).known(chosen, ("train",))

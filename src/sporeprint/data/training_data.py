"""The published tables of one run, as training and evaluation take them."""

from dataclasses import dataclass, replace

import numpy as np

from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import read_table, run_id_of
from sporeprint.errors import DataError
from sporeprint.settings import Settings


@dataclass(frozen=True)
class ModelInput:
    """The published tables of one run."""

    record: DataSummary
    train: Observations
    validation: Observations
    test: Observations

    def part(self, settings: Settings, name: str) -> Observations:
        """The rows of one part of `validation`."""
        number = list(settings.split.shares).index(name)
        return self.validation.take(np.flatnonzero(self.validation.part == number))


def read_input(settings: Settings, workdir: Workdir) -> ModelInput:
    """Read what `load` published.

    Raises:
        DataError: if nothing is published, or the tables are of several runs.
    """
    if not workdir.data_record.exists():
        raise DataError(f"no data has been loaded in {workdir.root}; run sporeprint load first")
    record = DataSummary.from_json(workdir.data_record.read_text(encoding="utf-8"))
    paths = [workdir.model_input / f"{name}.parquet" for name in ("train", "validation", "test")]
    for path in paths:
        if (run := run_id_of(path)) != record.run_id:
            raise DataError(
                f"{path} is of run {run}, not of {record.run_id} like the rest; run sporeprint transform and sporeprint load again"
            )
    tables = (read_table(path, settings.dataset, tuple(settings.split.shares)) for path in paths)
    if settings.split.by == "groups":  # test rows are of new groups: a promise for these counts each group once
        tables = (replace(table, cluster=table.group) for table in tables)
    train, validation, test = tables
    return ModelInput(record, train, validation, test)

"""The published tables of one run, as training and evaluation take them: samples in memory, and all training rows in batches."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from sporeprint.common.batches import Batches, BatchSequence
from sporeprint.common.engine import Engine, LocalEngine
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.parquet_store import read_table, run_id_of
from sporeprint.data.row_sample import sample, smallest
from sporeprint.data.stored_rows import counted_rows, stored_rows
from sporeprint.errors import DataError
from sporeprint.settings import Settings

TABLES = ("train", "validation", "test")
#: The parts whose rows the guard knows: those a model is fitted on, or stopped by.
KNOWN = ("train", "early_stop")
#: What a table is read by, where no engine is named.
HERE = LocalEngine(1)


@dataclass(frozen=True)
class KnownRows:
    """The rows that models and guards are fitted on.

    Attributes:
        batches: all of them, readable again and again; one batch where they are in memory.
        sample: some of them, by hash, in memory; all where they are in memory.
        is_whole: whether they are.
    """

    batches: Batches[Observations]
    sample: Observations
    is_whole: bool

    @classmethod
    def of(cls, rows: Observations) -> Self:
        """Rows in memory."""
        return cls(BatchSequence([rows]), rows, is_whole=True)


@dataclass(frozen=True)
class ModelInput:
    """The published tables of one run.

    Attributes:
        record: where they came from.
        train: rows to fit on; like the two others a sample by hash where there are more than `runtime.most_rows`.
        validation: early stopping, calibration and threshold.
        test: rows that no step before evaluation sees.
        stored: where all rows to fit on can be read; None where `train` has them all.
        engine: what counts them.
    """

    record: DataSummary
    train: Observations
    validation: Observations
    test: Observations
    stored: Workdir | None = field(default=None, repr=False)
    engine: Engine = field(default=HERE, repr=False)

    def part(self, settings: Settings, name: str) -> Observations:
        """The rows of one part of `validation`; of `calibration` at most `guard.calibration_rows`, by hash."""
        number = list(settings.split.shares).index(name)
        rows = self.validation.take(np.flatnonzero(self.validation.part == number))
        return smallest(rows, settings.guard.calibration_rows) if name == "calibration" else rows

    def known(self, settings: Settings, parts: tuple[str, ...]) -> KnownRows:
        """The rows to fit on: of `train`, or of `KNOWN`, all parts that the guard knows."""
        held = concat([self.train if name == "train" else self.part(settings, name) for name in parts])
        if self.stored is None:
            return KnownRows.of(held)
        tables = dict.fromkeys("validation" if name not in TABLES else name for name in parts)
        numbers = tuple(list(settings.split.shares).index(name) for name in parts)
        rows = stored_rows(settings, [_path(self.stored, table) for table in tables], self.engine, numbers)
        return KnownRows(rows, smallest(held, settings.runtime.most_rows), is_whole=False)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """That the tables in memory are samples, where they are: a sentence."""
        held = {"train": self.train, "validation": self.validation, "test": self.test}
        parts = [
            f"{len(held[name].y):,} of {rows:,} {name} rows" for name, rows in _published(self.record).items() if len(held[name].y) < rows
        ]
        return (f"Measured, calibrated and held out in folds on samples by hash: {', '.join(parts)} (runtime.most_rows).",) if parts else ()


def read_input(settings: Settings, workdir: Workdir, engine: Engine = HERE) -> ModelInput:
    """Read what `load` published: whole, or of tables larger than `runtime.most_rows` a sample.

    Args:
        settings: the configuration.
        workdir: where it is.
        engine: reads tables of many parts, and counts their rows; this process where nobody else is named.

    Raises:
        DataError: if nothing is published, or the tables are of several runs.
    """
    if not workdir.data_record.exists():
        raise DataError(f"no data has been loaded in {workdir.root}; run sporeprint load first")
    record = DataSummary.from_json(workdir.data_record.read_text(encoding="utf-8"))
    for name in TABLES:
        if (run := run_id_of(path := _path(workdir, name))) != record.run_id:
            raise DataError(
                f"{path} is of run {run}, not of {record.run_id} like the rest; run sporeprint transform and sporeprint load again"
            )
    rows, most = _published(record), settings.runtime.most_rows
    train, validation, test = (
        counted_rows(settings, read_table(_path(workdir, name), settings.dataset, tuple(settings.split.shares)))
        if rows[name] <= most
        else sample(stored_rows(settings, [_path(workdir, name)], engine), rows[name], most)
        for name in TABLES
    )
    return ModelInput(record, train, validation, test, workdir if max(rows["train"], rows["validation"]) > most else None, engine)


def _published(record: DataSummary) -> dict[str, int]:
    """Rows of every table."""
    train, test = record.splits["train"], record.splits["test"]
    return {"train": train, "validation": sum(record.splits.values()) - train - test, "test": test}


def _path(workdir: Workdir, table: str) -> Path:
    return workdir.model_input / f"{table}.parquet"

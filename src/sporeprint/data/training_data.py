"""The published tables of one run, as training and evaluation take them: samples in memory, and all training rows in batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.parquet_store import read_table, read_tables, run_id_of
from sporeprint.data.row_sample import sample, smallest
from sporeprint.errors import DataError
from sporeprint.settings import Settings

TABLES = ("train", "validation", "test")
#: The parts whose rows the guard knows: those a model is fitted on, or stopped by.
KNOWN = ("train", "early_stop")


@dataclass(frozen=True)
class StoredRows:
    """Rows of published files, read batch by batch as often as they are iterated over.

    Attributes:
        workdir: where the files are.
        settings: the contract, and how the rows were split.
        parts: of which parts of the split.
    """

    workdir: Workdir
    settings: Settings
    parts: tuple[str, ...]

    def __iter__(self) -> Iterator[Observations]:
        """The rows, in the order of the files."""
        numbers = [list(self.settings.split.shares).index(name) for name in self.parts]
        for table in dict.fromkeys("validation" if name not in TABLES else name for name in self.parts):
            for batch in read_batches(self.settings, self.workdir, table):
                if batch.part is None or np.isin(batch.part, numbers).all():
                    yield batch
                elif len(chosen := np.flatnonzero(np.isin(batch.part, numbers))):
                    yield batch.take(chosen)


@dataclass(frozen=True)
class KnownRows:
    """The rows that models and guards are fitted on.

    Attributes:
        batches: all of them, readable again and again; one batch where they are in memory.
        sample: some of them, by hash, in memory; all where they are in memory.
        is_whole: whether they are.
    """

    batches: Iterable[Observations]
    sample: Observations
    is_whole: bool

    @classmethod
    def of(cls, rows: Observations) -> Self:
        """Rows in memory."""
        return cls([rows], rows, is_whole=True)


@dataclass(frozen=True)
class ModelInput:
    """The published tables of one run.

    Attributes:
        record: where they came from.
        train: rows to fit on; like the two others a sample by hash where there are more than `runtime.most_rows`.
        validation: early stopping, calibration and threshold.
        test: rows that no step before evaluation sees.
        stored: where all rows to fit on can be read; None where `train` has them all.
    """

    record: DataSummary
    train: Observations
    validation: Observations
    test: Observations
    stored: Workdir | None = field(default=None, repr=False)

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
        return KnownRows(StoredRows(self.stored, settings, parts), smallest(held, settings.runtime.most_rows), is_whole=False)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """That the tables in memory are samples, where they are: a sentence."""
        held = {"train": self.train, "validation": self.validation, "test": self.test}
        parts = [
            f"{len(held[name].y):,} of {rows:,} {name} rows" for name, rows in _published(self.record).items() if len(held[name].y) < rows
        ]
        return (f"Measured, calibrated and held out in folds on samples by hash: {', '.join(parts)} (runtime.most_rows).",) if parts else ()


def read_input(settings: Settings, workdir: Workdir) -> ModelInput:
    """Read what `load` published: whole, or of tables larger than `runtime.most_rows` a sample.

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
        _counted(settings, read_table(_path(workdir, name), settings.dataset, tuple(settings.split.shares)))
        if rows[name] <= most
        else sample(read_batches(settings, workdir, name), rows[name], most)
        for name in TABLES
    )
    return ModelInput(record, train, validation, test, workdir if max(rows["train"], rows["validation"]) > most else None)


def read_batches(settings: Settings, workdir: Workdir, table: str) -> Iterator[Observations]:
    """The rows of a published table, batch by batch."""
    for batch in read_tables(_path(workdir, table), settings.dataset, tuple(settings.split.shares)):
        yield _counted(settings, batch)


def _published(record: DataSummary) -> dict[str, int]:
    """Rows of every table."""
    train, test = record.splits["train"], record.splits["test"]
    return {"train": train, "validation": sum(record.splits.values()) - train - test, "test": test}


def _path(workdir: Workdir, table: str) -> Path:
    return workdir.model_input / f"{table}.parquet"


def _counted(settings: Settings, rows: Observations) -> Observations:
    """With `split.by: groups` test rows are of new groups: a promise for these counts each group once."""
    return replace(rows, cluster=rows.group) if settings.split.by == "groups" else rows

"""The load step: publishes the staged tables. The only step that replaces anything a reader sees.

A place that tables are published to is a `Sink`: the data folders, and the warehouse.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sporeprint.common.files import atomic_path, atomic_write
from sporeprint.common.progress import Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.errors import DataError, StorageError
from sporeprint.pipelines.results import DataResult
from sporeprint.pipelines.run_context import RunContext, open_run
from sporeprint.settings import Settings
from sporeprint.storage.warehouse.training_sink import WarehouseSink, opened


def run_load(settings: Settings, root: Path, *, run_id: str | None = None, steps: Steps | None = None) -> DataResult:
    """Run this step alone.

    Args:
        settings: the configuration.
        root: the work directory.
        run_id: the run that has to be staged; if it is published already, nothing is done. None: whatever is staged.
        steps: shows the progress.

    Raises:
        DataError: nothing is staged, or another run.
    """
    with open_run(settings, root, steps, "load") as run:
        return DataResult(load(run, run_id), published=True)


def load(run: RunContext, run_id: str | None = None) -> DataSummary:
    """Publish the staged tables to the data folders and the warehouse; the summary of what is published."""
    workdir = run.workdir
    with run.log.step("load"):
        summary = _read_summary(workdir.staging / "record.json")
        if run_id is not None and (summary is None or summary.run_id != run_id):
            published = _read_summary(workdir.data_record)
            if published is not None and published.run_id == run_id:
                return published
            raise DataError(f"run {run_id} is neither staged in {workdir.staging} nor published; run sporeprint transform again")
        if summary is None:
            raise DataError(f"nothing is staged in {workdir.staging}; run sporeprint transform first")
        run.record.add_data(summary)
        with opened(run.settings.storage, workdir.root) as warehouse:
            publish(workdir, run.settings.dataset.name, summary.run_id, summary.to_json(), (WarehouseSink(warehouse),))
        return summary


def _read_summary(path: Path) -> DataSummary | None:
    return DataSummary.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


class Sink(Protocol):
    """A place that the tables of a run are published to. Publishing the same run twice changes nothing."""

    def publish(self, tables: Mapping[str, Path], record: str) -> None:
        """Make the tables visible to readers.

        Args:
            tables: name (processed, train, validation, test, rejected) -> staged Parquet file.
            record: JSON, what the run found: counts, rules, splits, provenance, run id.
        """


class Folders:
    """The data folders of a work directory."""

    def __init__(self, workdir: Workdir, dataset: str, run_id: str) -> None:
        self._workdir = workdir
        self._places: dict[str, tuple[Path, ...]] = {
            "processed": (workdir.processed / f"{dataset}.parquet",),
            "train": (workdir.model_input / "train.parquet",),
            "validation": (workdir.model_input / "validation.parquet", workdir.validation / "validation.parquet"),
            "test": (workdir.model_input / "test.parquet",),
            "rejected": (workdir.rejected(run_id),),
        }

    def publish(self, tables: Mapping[str, Path], record: str) -> None:
        """Replace each file atomically; readers tell a half-published run by the run ids in the files."""
        for name, staged in tables.items():
            for place in self._places[name]:
                if staged.is_dir() or place.is_dir():
                    _put(staged, place)
                    continue
                with atomic_path(place) as temporary:
                    temporary.unlink()
                    _link(staged, temporary)
        atomic_write(self._workdir.data_record, record)


def _put(staged: Path, place: Path) -> None:
    """Put a table in the place of another where one of them is a folder of part files.

    A folder cannot be replaced in one step: killed between the two renames, there is no table there until `load` is run again.

    Raises:
        StorageError: it cannot be written.
    """
    fresh, old = (place.with_name(f".{place.name}.{word}") for word in ("fresh", "old"))
    try:
        for left in (fresh, old):
            _remove(left)
        if staged.is_dir():
            fresh.mkdir(parents=True)
            for path in staged.iterdir():
                _link(path, fresh / path.name)
        else:
            _link(staged, fresh)
        if place.exists():
            place.rename(old)
        fresh.rename(place)
        _remove(old)
    except OSError as error:
        raise StorageError(f"cannot write {place}: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes, or a copy where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def publish(workdir: Workdir, dataset: str, run_id: str, record: str, sinks: Sequence[Sink] = ()) -> None:
    """Publish the staged run to the data folders and every further sink, then clear the stage.

    Killed at any point, it can be run again: the stage goes last, and at once.

    Raises:
        DataError: if nothing is staged.
        StorageError: if a file cannot be written.
    """
    tables = {path.stem: path for path in sorted(workdir.staging.glob("*.parquet"))}
    if "processed" not in tables:
        raise DataError(f"nothing is staged in {workdir.staging}; run sporeprint transform first")
    for sink in (Folders(workdir, dataset, run_id), *sinks):
        sink.publish(tables, record)
    page = workdir.staging / "report.html"
    if page.exists():
        atomic_write(workdir.validation / "report.html", page.read_bytes())
    # A stage that is half removed would be taken for a whole one; what stays of this folder the next transform removes.
    gone = workdir.staging.with_name(f".staging-{run_id}-loaded")
    shutil.rmtree(gone, ignore_errors=True)
    workdir.staging.rename(gone)
    shutil.rmtree(gone)

"""The extract step: finds, downloads or simulates the raw table, and records where it came from."""

from dataclasses import dataclass
from pathlib import Path

from sporeprint.common.files import atomic_write
from sporeprint.common.progress import Steps
from sporeprint.common.workdir import Workdir
from sporeprint.errors import DataError
from sporeprint.ingestion.raw_table import RawTable, open_raw_table
from sporeprint.pipelines.feedback import append_labelled_predictions
from sporeprint.pipelines.results import ExtractResult
from sporeprint.pipelines.run_context import RunContext, open_run, utc_now
from sporeprint.settings import Settings


@dataclass(frozen=True)
class Outcomes:
    """Adds the warehouse's predictions with a known outcome to the table.

    Attributes:
        since_us: only predictions made since then, microseconds since 1970 UTC; None: all.
    """

    since_us: int | None = None


def run_extract(settings: Settings, root: Path, *, source: str | None = None, steps: Steps | None = None) -> ExtractResult:
    """Run this step alone.

    Raises:
        SporeprintError: see `sporeprint.ingestion.raw_table.open_raw_table`.
    """
    with open_run(settings, root, steps, "extract") as run:
        return ExtractResult(extract(run, source))


def extract(run: RunContext, source: str | None, outcomes: Outcomes | None = None) -> RawTable:
    """The raw table, of `source` or of the configured one; recorded for the steps that follow."""
    with run.log.step("extract") as progress:
        raw = open_raw_table(run.settings, run.workdir.root, source=source, progress=progress, now=utc_now)
        atomic_write(run.workdir.extract_record, raw.to_json())
    if outcomes is not None:
        with run.log.step("outcomes") as progress:
            raw = append_labelled_predictions(run.settings, run.workdir, raw, since_us=outcomes.since_us, progress=progress)
            atomic_write(run.workdir.extract_record, raw.to_json())
    return raw


def read_extract_record(workdir: Workdir) -> RawTable:
    """The raw table of the last extract step.

    Raises:
        DataError: nothing has been extracted.
    """
    if not workdir.extract_record.exists():
        raise DataError(f"nothing has been extracted in {workdir.root}; run sporeprint extract first")
    return RawTable.from_json(workdir.extract_record.read_text(encoding="utf-8"))

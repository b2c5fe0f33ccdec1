"""The extract step: finds, downloads or simulates the raw table, and records where it came from."""

from dataclasses import dataclass, replace
from pathlib import Path

from sporeprint.common.files import atomic_write
from sporeprint.common.progress import Steps
from sporeprint.common.workdir import Workdir
from sporeprint.errors import ConfigError, DataError
from sporeprint.ingestion.raw_table import RawTable, open_raw_table
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.feedback import append_labelled_predictions
from sporeprint.pipelines.results import ExtractResult
from sporeprint.pipelines.run_context import RunContext, open_run, utc_now
from sporeprint.settings import Settings

#: How the address of a table of a Spark catalogue begins.
SPARK = "spark:"


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
        named = source or run.settings.source.path or ""
        table = _catalogue_table(run, named.removeprefix(SPARK)) if named.startswith(SPARK) else source
        raw = open_raw_table(run.settings, run.workdir.root, source=table, progress=progress, now=utc_now)
        if table != source:
            raw = replace(raw, provenance=replace(raw.provenance, source=named))
        atomic_write(run.workdir.extract_record, raw.to_json())
    if outcomes is not None:
        with run.log.step("outcomes") as progress:
            raw = append_labelled_predictions(run.settings, run.workdir, raw, since_us=outcomes.since_us, progress=progress)
            atomic_write(run.workdir.extract_record, raw.to_json())
    return raw


def _catalogue_table(run: RunContext, name: str) -> str:
    """A folder with the rows of a table of a Spark catalogue; it stays, as a download does.

    Raises:
        ConfigError: the configured engine is not Spark.
        SourceUnavailableError: Spark cannot read it.
    """
    if run.settings.engine.kind != "spark":
        raise ConfigError(f"{SPARK}{name} is a table of a Spark catalogue; name the cluster with --engine or engine.master")
    folder = run.workdir.extract_record.parent / f"{run.settings.dataset.name}.spark"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open_engine(run.settings, run.workdir) as engine:
        engine.write_table(name, folder)  # type: ignore[union-attr]  # the configured one, which is Spark's
    return str(folder)


def read_extract_record(workdir: Workdir) -> RawTable:
    """The raw table of the last extract step.

    Raises:
        DataError: nothing has been extracted.
    """
    if not workdir.extract_record.exists():
        raise DataError(f"nothing has been extracted in {workdir.root}; run sporeprint extract first")
    return RawTable.from_json(workdir.extract_record.read_text(encoding="utf-8"))

"""OpenLineage: which step read what and wrote what, as events for a catalogue. Off unless its environment variables name a receiver.

`OPENLINEAGE_URL`, `OPENLINEAGE_CONFIG` or `OPENLINEAGE__TRANSPORT__...` turn it on, `OPENLINEAGE_DISABLED=true` off; they are those of
OpenLineage's Python client. Every step is a job of its own, so a DAG, whose tasks are commands, gives the jobs of `sporeprint etl`.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sporeprint.common.optional_dependencies import missing
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.errors import ConfigError, SporeprintError
from sporeprint.ingestion.raw_table import RawTable
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings

log = logging.getLogger(__name__)

NAMESPACE = "sporeprint"
#: Steps that read or write something that others see.
STEPS = ("extract", "transform", "load", "train", "evaluate", "register", "promote", "import")


def requested(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a receiver."""
    if environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    named = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")
    return any(environ.get(name) for name in named) or any(
        value and name.startswith("OPENLINEAGE__TRANSPORT") for name, value in environ.items()
    )


@dataclass(frozen=True)
class TableVersion:
    """What a step read or wrote.

    Attributes:
        namespace: of the dataset, as OpenLineage names files and addresses.
        name: its name there.
        version: of its content; None: it has none.
        rows: None: not counted.
        has_columns: whether it has the columns of the configured table.
    """

    namespace: str
    name: str
    version: str | None = None
    rows: int | None = None
    has_columns: bool = False


def _file(path: Path, **more: Any) -> TableVersion:
    return TableVersion("file", str(path.absolute()), **more)


def _raw_tables(workdir: Workdir) -> tuple[TableVersion, TableVersion]:
    """Where the raw table came from, and the file that is read."""
    raw = RawTable.from_json(workdir.extract_record.read_text(encoding="utf-8"))
    version, origin = raw.provenance.sha256, raw.provenance
    source = TableVersion("file" if origin.kind in {"file", "simulated"} else origin.kind, origin.source, version, has_columns=True)
    return source, _file(raw.path, version=version, rows=origin.rows, has_columns=True)


def _published(workdir: Workdir) -> list[TableVersion]:
    record = DataSummary.from_json(workdir.data_record.read_text(encoding="utf-8"))
    train, test = record.splits["train"], record.splits["test"]
    counts = {"train": train, "validation": sum(record.splits.values()) - train - test, "test": test}
    return [
        _file(workdir.model_input / f"{name}.parquet", version=record.fingerprint, rows=rows, has_columns=True)
        for name, rows in counts.items()
    ]


def _versions(workdir: Workdir) -> list[TableVersion]:
    """The newest version of every model, and what is served."""
    registry = Registry(workdir.registry)
    newest = {name: max(registry.versions(name)) for name in registry.names()}
    served = registry.production()
    versions = [_file(workdir.registry / name, version=f"v{number}") for name, number in newest.items()]
    alias = _file(workdir.registry / "aliases.json", version=None if served is None else served.ref)
    return [*versions, *([] if served is None else [alias])]


def tables_of(step: str, settings: Settings, workdir: Workdir) -> tuple[list[TableVersion], list[TableVersion]]:
    """What a step that has ended read and wrote; nothing where it left no record."""
    candidates = [_file(workdir.candidates / name) for name in settings.models]
    staged = [_file(workdir.staging)]
    match step:
        case "extract":
            source, raw = _raw_tables(workdir)
            return [source], [raw] if raw.name != str(Path(source.name).absolute()) else []
        case "transform":
            return [_raw_tables(workdir)[1]], staged
        case "load":
            return staged, _published(workdir)
        case "train":
            return _published(workdir)[:2], candidates
        case "evaluate":
            return [*candidates, _published(workdir)[2]], [_file(workdir.metrics)]
        case "register":
            return [*candidates, _file(workdir.metrics)], _versions(workdir)
        case _:
            return _published(workdir), _versions(workdir)


@dataclass
class Lineage:
    """Reports the steps of one run. What cannot be delivered is one warning, and the run goes on.

    Attributes:
        client: OpenLineage's.
        settings: of the run.
        workdir: of the run.
        run_id: name of the run.
        parent: the run that all steps belong to: job, and id.
        is_failing: whether a delivery failed: the rest of the run is not reported.
    """

    client: Any
    settings: Settings
    workdir: Workdir
    run_id: str
    parent: tuple[str, str, str] = field(init=False)
    is_failing: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        named = os.environ.get("OPENLINEAGE_PARENT_ID", "").split("/")
        # As other tools name the run that started them: namespace/job/run.
        own = self.namespace, self.settings.dataset.name, str(uuid.uuid5(uuid.NAMESPACE_OID, self.run_id))
        self.parent = own if len(named) < 3 else (named[0], "/".join(named[1:-1]), named[-1])

    @property
    def namespace(self) -> str:
        """Of the jobs."""
        return os.environ.get("OPENLINEAGE_NAMESPACE") or NAMESPACE

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report a step: its start, and how it ended."""
        if name not in STEPS:
            yield
            return
        run = str(uuid.uuid4())
        self._emit("START", name, run)
        try:
            yield
        except BaseException as error:
            self._emit("FAIL", name, run, error)
            raise
        self._emit("COMPLETE", name, run)

    def _emit(self, state: str, step: str, run: str, error: BaseException | None = None) -> None:
        if self.is_failing:
            return
        inputs: list[TableVersion] = []
        outputs: list[TableVersion] = []
        if state == "COMPLETE":
            with contextlib.suppress(SporeprintError, OSError, ValueError, KeyError):  # a record that is not there is no dataset
                inputs, outputs = tables_of(step, self.settings, self.workdir)
        try:
            self.client.emit(self._event(state, step, run, error, inputs, outputs))
        except Exception as failure:  # noqa: BLE001 -- each transport raises its own
            self.is_failing = True
            log.warning("run %s is not reported to OpenLineage: %s; the run itself goes on", self.run_id, _short(failure))

    def _event(
        self, state: str, step: str, run: str, error: BaseException | None, inputs: list[TableVersion], outputs: list[TableVersion]
    ) -> Any:
        from openlineage.client import event_v2 as events
        from openlineage.client.facet_v2 import error_message_run, job_type_job, parent_run

        namespace, job, parent = self.parent
        facets: dict[str, Any] = {"parent": parent_run.ParentRunFacet(parent_run.Run(parent), parent_run.Job(namespace, job))}
        if error is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(str(error)[:1000], "python")
        kind: dict[str, Any] = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "SPOREPRINT", "JOB")}
        return events.RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            eventType=events.RunState(state),
            run=events.Run(run, facets),
            job=events.Job(self.namespace, f"{self.settings.dataset.name}.{step}", kind),
            inputs=[events.InputDataset(table.namespace, table.name, facets=self._facets(table)) for table in inputs],
            outputs=[
                events.OutputDataset(table.namespace, table.name, facets=self._facets(table), outputFacets=_counts(table))
                for table in outputs
            ],
            producer=PRODUCER_URI,
        )

    def _facets(self, table: TableVersion) -> dict[str, Any]:
        from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

        facets: dict[str, Any] = {}
        if table.version is not None:
            facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(table.version)
        if table.has_columns:
            schema = self.settings.dataset
            fields = [
                schema_dataset.SchemaDatasetFacetFields(name, "double" if name in schema.numeric else "string", column.description)
                for name, column in schema.columns.items()
            ]
            target = schema_dataset.SchemaDatasetFacetFields(schema.target.column, "string")
            facets["schema"] = schema_dataset.SchemaDatasetFacet([*fields, target])
        return facets


#: OpenLineage wants an address of what made an event.
PRODUCER_URI = "urn:sporeprint"


def _counts(table: TableVersion) -> dict[str, Any]:
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    return {} if table.rows is None else {"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(table.rows)}


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def lineage_of(settings: Settings, workdir: Workdir, run_id: str) -> Lineage | None:
    """What reports a run; None where no receiver is named.

    Raises:
        ConfigError: the environment's transport is none.
        MissingExtraError: OpenLineage's client is not installed.
    """
    if not requested():
        return None
    try:
        from openlineage.client import OpenLineageClient
    except ModuleNotFoundError as error:
        raise (missing(error) or error) from error
    try:
        return Lineage(OpenLineageClient(), settings, workdir, run_id)
    except Exception as error:  # its factories raise their own
        raise ConfigError(f"OpenLineage: {_short(error)}; see its variables OPENLINEAGE_URL and OPENLINEAGE__TRANSPORT__TYPE") from error

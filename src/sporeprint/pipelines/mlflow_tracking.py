"""Logs a run to an MLflow tracking server: one parent run, and below it a run for each model.

Tracking never decides over a run: a server that is away, or answers with an error, is a warning, and the run goes on.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sporeprint.common.optional_dependencies import missing
from sporeprint.common.redaction import redacted
from sporeprint.common.workdir import Workdir
from sporeprint.pipelines.mlflow_export import export_mlflow
from sporeprint.pipelines.results import EtlResult
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

#: MLflow waits for minutes by default, and prints to stdout, which belongs to the result. Unless the environment says otherwise:
#: seconds of one request, tries after it.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: Most characters of a parameter's value.
LONGEST = 500


def track_run(settings: Settings, root: Path, result: EtlResult, uri: str) -> str | None:
    """Log a finished run.

    Args:
        settings: the configuration of the run.
        root: the work directory.
        result: the run.
        uri: of the tracking server, as MLflow reads it: http://host:5000, a folder, sqlite:///file.

    Returns:
        The id of the MLflow run; None where it could not be logged, which is a warning in the log.

    Raises:
        MissingExtraError: if MLflow is not installed.
    """
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # comes with mlflow
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise (missing(error) or error) from error
    # Clients of artifact stores raise OSError and below; an answer that is none of MLflow's, and an address that is none, are the others.
    try:
        return _track(MlflowClient(tracking_uri=uri), settings, Workdir(root), result)
    except (MlflowException, OSError, ParseError, ValueError) as error:
        shown = redacted(uri)
        reason = _short(error).replace(uri.rstrip("/"), shown.rstrip("/"))
        log.warning("run %s was not tracked by MLflow at %s: %s; the run itself is complete", result.run_id, shown, reason)
        return None


def _track(client: "MlflowClient", settings: Settings, workdir: Workdir, result: EtlResult) -> str:
    parent = client.create_run(_experiment(client, settings.dataset.name), run_name=result.run_id, tags=_tags(result))
    run_id: str = parent.info.run_id
    record, status = result.data.record, "FAILED"
    try:
        _log_parameters(client, run_id, {"source": record.provenance["source"], "seed": settings.runtime.seed, "rows": record.rows})
        for step in result.steps:
            client.log_metric(run_id, f"{step.step}_seconds", step.wall_s)
        client.log_artifact(run_id, result.report)
        client.log_dict(run_id, result.evaluated.to_dict(), "metrics.json")
        for name, measured in result.evaluated.to_dict()["models"].items():
            _track_model(client, settings, workdir, parent, name, measured)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
    return run_id


def _track_model(client: "MlflowClient", settings: Settings, workdir: Workdir, parent: Any, name: str, measured: Mapping[str, Any]) -> None:
    ref = None if measured["version"] is None else f"{name}/{measured['version']}"
    tags = {"mlflow.parentRunId": parent.info.run_id, "sporeprint.version": ref or "not servable"}
    run = client.create_run(parent.info.experiment_id, run_name=name, tags=tags)
    run_id, status = run.info.run_id, "FAILED"
    try:
        _log_parameters(client, run_id, settings.models[name].model_dump(mode="json"))
        for metric, value in _metrics(measured):
            client.log_metric(run_id, metric, value)
        if ref is not None:
            with TemporaryDirectory() as folder:
                model = export_mlflow(Registry(workdir.registry), ref, Path(folder) / "model")
                client.log_artifacts(run_id, str(model), "model")
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)


def _experiment(client: "MlflowClient", name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if experiment is None else experiment.experiment_id)


def _tags(result: EtlResult) -> dict[str, str]:
    record = result.data.record
    return {
        "sporeprint.run_id": result.run_id,
        "sporeprint.simulated": str(record.simulated).lower(),
        "sporeprint.production": result.registered.production or "none",
    }


def _log_parameters(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            client.log_param(run_id, name, str(value)[:LONGEST])


def _metrics(measured: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """`seen.accuracy`, and its interval as `seen.accuracy_low` and `seen.accuracy_high`; what is undefined is left out."""
    for side in ("seen", "unseen"):
        for name, estimate in measured[side].items():
            if not isinstance(estimate, Mapping) or "value" not in estimate:
                continue
            for suffix, key in (("", "value"), ("_low", "low"), ("_high", "high")):
                if estimate.get(key) is not None:
                    yield f"{side}.{name}{suffix}", float(estimate[key])


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]

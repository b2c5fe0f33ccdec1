"""An evaluation in the database: there the server reads it, on whatever machine the monitor runs."""

from dataclasses import asdict, replace
from typing import Any

from sporeprint.common.workdir import Workdir
from sporeprint.monitoring.compact_evaluation import compact
from sporeprint.monitoring.evaluation import finite
from sporeprint.pipelines.monitoring_files import MonitoringRun
from sporeprint.pipelines.run_record import RunRecord
from sporeprint.storage.oltp import evaluations
from sporeprint.storage.oltp.evaluations import SUMMARY_BYTES, StoredEvaluation, stream_id_of


def keep(record: RunRecord, made: MonitoringRun) -> MonitoringRun:
    """Write an evaluation to the database. Where that fails, its actions say so: an evaluation is not lost by it."""
    evaluation, stream = made.evaluation, made.evaluation.stream
    record.rows, record.exit_code = evaluation.drift.rows[1], made.exit_code
    record.details |= {"evaluation_id": record.run_id, "current": evaluation.current, "status": evaluation.status.value}
    item = StoredEvaluation(
        evaluation_id=record.run_id,
        stream_id=stream_id_of(stream),
        stream=stream,
        at_us=round(evaluation.at_s * 1e6),
        status=evaluation.status.value,
        summary=compact(evaluation, most_bytes=SUMMARY_BYTES),
    )
    details: dict[str, Any] = {
        **evaluation.to_dict(),
        "words": list(evaluation.words),
        "alpha": evaluation.alpha,
        "overlays": finite({name: asdict(overlay) for name, overlay in evaluation.overlays.items()}),
    }
    whole = record.settings.monitoring.keep_reports
    report = Workdir(record.root).at(made.written[0]).read_bytes() if made.written else None
    problem = record.write(lambda engine: evaluations.keep(engine, item, details, report, whole=whole))
    if problem is None:
        return replace(made, evaluation_id=record.run_id)
    record.details.pop("evaluation_id")
    return replace(made, actions=(*made.actions, f"the evaluation is not in the database: {problem}"))

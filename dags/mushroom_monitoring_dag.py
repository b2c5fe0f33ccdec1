"""Whether what the service is asked, and what it answers, are still what they were: sync → look → judge.

Runs when new models have been promoted, in their work directory, and by the clock.
"""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from sporeprint_steps import MODELS, PLACE, TABLES, TRIES, step

Params = dict[str, Any]
ALARM, NOT_COMPUTED = 10, 11


@dag(
    dag_id="mushroom_monitoring",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(os.environ.get("MUSHROOM_MONITORING_SCHEDULE") or "0 4 * * *", timezone="UTC"),
        assets=TABLES & MODELS,
    ),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017 -- the way every Airflow's Python knows
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args={**TRIES, "execution_timeout": timedelta(minutes=30)},
    params={
        **PLACE,
        "current": Param(
            None, type=["null", "string"], title="File", description="Look at the rows of this file, not at what the service answered."
        ),
    },
    tags=["sporeprint"],
    doc_md=__doc__,
)
def mushroom_monitoring() -> None:
    """Wire the steps. Between the tasks go ids and paths only."""

    @task
    def place(params: Params, triggering_asset_events: Any) -> Params:
        """Where to look: where the models were made that triggered this run, else where the parameters say."""
        events = triggering_asset_events.get(MODELS, ())
        made = dict(events[-1].extra or {}) if events else {}
        return {name: made.get(name, params[name]) for name in PLACE}

    @task
    def sync(where: Params, params: Params) -> None:
        """Bring what was answered, and what came true, into the warehouse."""
        if params["current"] is None:
            step(where, "warehouse", "sync")

    @task
    def look(where: Params, params: Params) -> dict[str, Any]:
        """Compare; how it ended, and where the report is. Both other endings are answers: the same rows would give them again."""
        current = params["current"]
        found = step(where, "monitor", *(["--current", current] if current else []), accepted=(0, ALARM, NOT_COMPUTED))
        return {"exit_code": found["exit_code"], "workdir": where["workdir"], "reports": found["written"]}

    @task
    def judge(found: dict[str, Any]) -> None:
        """Fail for an alarm, and where not all could be computed: neither may look fine in the list of runs."""
        said = f"{', '.join(found['reports'])} in {found['workdir']}"
        if found["exit_code"] == ALARM:
            raise AirflowFailException(f"alarm: see {said}")
        if found["exit_code"] == NOT_COMPUTED:
            raise AirflowFailException(f"not all could be computed: see {said}")

    where = place()
    seen = look(where)
    sync(where) >> seen
    judge(seen)


mushroom_monitoring()

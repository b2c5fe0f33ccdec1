"""From the raw table to registered, evaluated models, as `./run_etl.sh` does it, one task a step.

extract → validate → transform → load → train (one task a model) → evaluate → register → promote
"""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import Param, dag, task
from sporeprint_steps import MODELS, PLACE, TABLES, TRIES, step

Params = dict[str, Any]


@dag(
    dag_id="mushroom_etl",
    schedule=os.environ.get("MUSHROOM_ETL_SCHEDULE", "@weekly") or None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017 -- the way every Airflow's Python knows
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={**TRIES, "execution_timeout": timedelta(minutes=30)},
    params={
        **PLACE,
        "source": Param(
            None, type=["null", "string"], title="Source", description="A file, an address, a database; left out: the configuration's."
        ),
    },
    tags=["sporeprint"],
    doc_md=__doc__,
)
def mushroom_etl() -> None:
    """Wire the steps. Between the tasks go ids and paths only: the tables and models lie in the work directory."""

    @task
    def configured(params: Params) -> list[str]:
        """Check the configuration; the models it names."""
        names: list[str] = step(params, "config", "check")["models"]
        return names

    @task
    def extract(params: Params) -> str:
        """Fetch the table; its sha256."""
        source = params["source"]
        return str(step(params, "extract", *(["--source", source] if source else []))["sha256"])

    @task
    def validate(params: Params) -> None:
        """Check every row; a bad table ends here."""
        step(params, "validate")

    @task
    def transform(params: Params) -> str:
        """Clean and split the table; the run that is staged."""
        return str(step(params, "transform")["run_id"])

    @task(outlets=[TABLES])
    def load(run: str, params: Params, outlet_events: Any) -> str:
        """Publish the run that was staged."""
        step(params, "load", "--run", run)
        outlet_events[TABLES].extra = {"run": run, **{name: params[name] for name in PLACE}}
        return run

    # One at a time: a fit uses every core, and the work directory has one lock.
    @task(max_active_tis_per_dagrun=1, execution_timeout=timedelta(hours=2), map_index_template="{{ model }}")
    def train(model: str, params: Params) -> str:
        """Fit one model."""
        step(params, "train", "--model", model)
        return model

    @task(execution_timeout=timedelta(hours=2))
    def evaluate(params: Params) -> str:
        """Measure all of them on seen and on unseen groups; the run of the evaluation."""
        return str(step(params, "evaluate")["run_id"])

    @task
    def register(params: Params) -> list[str]:
        """Give each a version; nothing that is served changes."""
        return [item["ref"] for item in step(params, "register", "--no-promote")["registered"] if item["ref"]]

    @task(outlets=[MODELS])
    def promote(params: Params, outlet_events: Any) -> str | None:
        """Move champions and production, as far as the gate lets them; what is served."""
        served: str | None = step(params, "register")["production"]
        outlet_events[MODELS].extra = {"production": served, **{name: params[name] for name in PLACE}}
        return served

    models, fetched, checked, run = configured(), extract(), validate(), transform()
    loaded = load(run)
    trained = train.expand(model=models)
    models >> fetched >> checked >> run
    loaded >> trained >> evaluate() >> register() >> promote()


mushroom_etl()

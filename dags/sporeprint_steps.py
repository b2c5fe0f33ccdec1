"""How a task calls a step of sporeprint: a process of the project's own environment, whose exit code says whether to try again.

Nothing of sporeprint is imported here, and nothing of Airflow there: their libraries never meet.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, Param, get_current_context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

PROJECT = Path(__file__).resolve().parents[1]
#: What the steps make. An event says in which work directory, and with which configuration.
TABLES = Asset("sporeprint_tables")
MODELS = Asset("sporeprint_models")
#: "try again later", in the table of exit codes.
RETRYABLE = 75
#: Exit codes of a command that a signal ended, as a shell says them. Nothing is half-written, so it can be run again.
KILLED = {128 + signal.SIGINT, 128 + signal.SIGPIPE, 128 + signal.SIGKILL, 128 + signal.SIGTERM}

#: How every task is tried again. Errors that another try cannot mend end the task at once, whatever stands here.
TRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=float(os.environ.get("MUSHROOM_RETRY_SECONDS") or "60")),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=15),
}

#: What both DAGs can be told when they are triggered.
PLACE = {
    "config": Param(
        os.environ.get("SPOREPRINT_CONFIG") or str(PROJECT / "config" / "config.yaml"), type="string", minLength=1, title="Configuration"
    ),
    "workdir": Param(
        os.environ.get("SPOREPRINT_WORKDIR") or str(PROJECT),
        type="string",
        minLength=1,
        title="Work directory",
        description="Everything that is written goes below it.",
    ),
    "set": Param([], type="array", items={"type": "string"}, title="Settings", description="One a line, as in split.seed=11."),
}


def step(params: Mapping[str, Any], *words: str, accepted: Sequence[int] = (0,)) -> dict[str, Any]:
    """Run a command of sporeprint; what it says on the way goes to the task's log.

    Args:
        params: of the DAG run: config, workdir, set.
        words: the command and its own options.
        accepted: exit codes that are an answer, not an error.

    Returns:
        The result as the command gives it with --json.

    Raises:
        AirflowException: another try may succeed.
        AirflowFailException: no other try will.
    """
    place = [f"--config={params['config']}", f"--workdir={params['workdir']}", *(f"--set={setting}" for setting in params["set"])]
    code, said = _run([_program(), *words, *place, "--json"])
    try:
        result = json.loads(said)
    except ValueError:
        result = {}
    if code in accepted and result:
        return dict(result)
    message = f"sporeprint {words[0]} ended with {code}: {_message(result, said)}"
    if code == RETRYABLE or code < 0 or code in KILLED:
        raise AirflowException(message)
    raise AirflowFailException(message)


def _program() -> str:
    return os.environ.get("MUSHROOM_SPOREPRINT") or str(PROJECT / ".venv" / "bin" / "sporeprint")


def _message(result: Mapping[str, Any], said: str) -> str:
    error = result.get("error")
    return str(error["message"]) if isinstance(error, Mapping) else said.strip()[-2000:] or "it said nothing"


def _lineage() -> dict[str, str]:
    """The parent of the steps of one DAG run in OpenLineage's events: Airflow's task where its provider reports it, else the DAG run."""
    dag, run = os.environ.get("AIRFLOW_CTX_DAG_ID"), os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    if "OPENLINEAGE_PARENT_ID" in os.environ or not (dag and run):
        return {}
    try:
        from airflow.providers.openlineage.plugins.macros import lineage_parent_id
    except ImportError:
        namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "default"
        parent = f"{namespace}/{dag}/{uuid.uuid5(uuid.NAMESPACE_OID, f'{dag}/{run}')}"
    else:
        parent = lineage_parent_id(get_current_context()["ti"])
    return {"OPENLINEAGE_PARENT_ID": parent}


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and stdout. Progress is printed as it comes; an end of the task, by timeout or by hand, ends the command too."""
    print("$", *command, flush=True)
    # What belongs to Airflow, its secrets among it, is none of the command's business.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW", "PYTHON", "VIRTUAL_ENV"))
    }
    environment |= _lineage()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        try:
            process = subprocess.Popen(  # noqa: S603 -- a list of words, no shell
                command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True, preexec_fn=_end_with_me
            )
        except OSError as error:
            raise AirflowFailException(
                f"cannot start {command[0]}: {error.strerror}; ./run_etl.sh makes it, or name another one in MUSHROOM_SPOREPRINT"
            ) from error
        try:
            for line in process.stderr or ():
                print(line.rstrip(), flush=True)
            process.wait()
        finally:
            _end(process)
        out.seek(0)
        return process.returncode, out.read()


def _end_with_me() -> None:
    """Ask the kernel, where it is Linux, to end the command when its task is killed: it would hold the work directory for nobody."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _end(process: "subprocess.Popen[str]") -> None:
    """Make sure that the command, and whatever it started, has ended: asked first, then killed."""
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue

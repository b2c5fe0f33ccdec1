"""The DAGs in a real Airflow, one for all tests: imported, and run by a scheduler whose tasks fail, are tried again and are killed."""

import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import warm_start
from free_ports import free_port
from http_receiver import Receiver, receiving
from serving_support import write_config
from sporeprint.common.locks import run_lock
from sporeprint.registry.registry import Registry

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
PROGRAM = Path(sys.executable).with_name("sporeprint")
ETL, MONITORING = "mushroom_etl", "mushroom_monitoring"


def environment(home: Path, **more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SPOREPRINT", "MUSHROOM"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "MUSHROOM_SPOREPRINT": str(PROGRAM),
        "MUSHROOM_RETRY_SECONDS": "1",
        "MUSHROOM_ETL_SCHEDULE": "",
        "MUSHROOM_MONITORING_SCHEDULE": "0 4 29 2 *",  # no run but those that are asked for
        "NO_PROXY": "*",
        **more,
    }


@pytest.fixture
def config(small_config: dict[str, Any], tmp_path: Path) -> Path:
    return write_config(small_config, tmp_path / "config.yaml")


def serving(root: Path) -> dict[str, bytes]:
    names = {"encoder.json", "scorer.json", "linear.json", "model.onnx", "model.json", "schema.json"}
    found = sorted(path for path in (root / "models/registry").glob("*/v*/*") if path.name in names)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def changed_at(root: Path) -> dict[Path, int]:
    """When each file of the registry was written, but for its lock, which whoever looks at it takes."""
    files = (path for path in (root / "models/registry").rglob("*") if path.is_file() and path.name != ".lock")
    return {path: path.stat().st_mtime_ns for path in files}


def production(root: Path) -> str | None:
    served = Registry(root / "models/registry").production()
    return None if served is None else served.ref


# --- without a run ---------------------------------------------------------------------------------------------------


def in_airflow(airflow: Path, home: Path, code: str, *words: str, **more: str) -> Any:
    """What a program prints as JSON that runs in Airflow's environment."""
    command = [str(airflow.with_name("python")), "-c", code, *words]
    done = subprocess.run(command, env=environment(home, **more), cwd=DAGS, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_dags_are_imported_without_an_error_or_a_warning(airflow: Path, tmp_path: Path) -> None:
    code = (
        "import json; from airflow.dag_processing.dagbag import DagBag; bag = DagBag('.');"
        "print(json.dumps([sorted(bag.dags), bag.import_errors, {k: list(v) for k, v in bag.captured_warnings.items()},"
        "[dag.max_active_runs for dag in bag.dags.values()], bag.dags['mushroom_etl'].task_dict['train'].max_active_tis_per_dagrun]))"
    )
    assert in_airflow(airflow, tmp_path, code) == [[ETL, MONITORING], {}, {}, [1, 1], 1]


STEP = """
import json, os, sys
sys.path.insert(0, '.')
import sporeprint_steps as steps
found = []
for program in json.loads(sys.argv[1]):
    os.environ['MUSHROOM_SPOREPRINT'] = program
    try:
        found.append(steps.step({'config': 'c', 'workdir': 'w', 'set': ['a=b c']}, 'load', '--run', 'x y', accepted=(0, 10)))
    except Exception as error:
        found.append([type(error).__name__, str(error)])
print(json.dumps(found))
"""
ERROR = '{"error": {"type": "DataError", "message": "row 7 is bad", "retryable": false}}'
TERMINAL, AGAIN = "AirflowFailException", "AirflowException"
#: What a command does -> what its task does.
STEPS: dict[str, Any] = {
    """echo '{"ok": true}'""": {"ok": True},
    """echo '{"alarm": 1}'; exit 10""": {"alarm": 1},
    **{f"echo '{ERROR}'; exit {code}": [TERMINAL, f"sporeprint load ended with {code}: row 7 is bad"] for code in (2, 3, 4, 5, 6)},
    f"echo '{ERROR}'; exit 75": [AGAIN, "sporeprint load ended with 75: row 7 is bad"],
    "kill -9 $$": [AGAIN, "sporeprint load ended with -9: it said nothing"],
    "exit 143": [AGAIN, "sporeprint load ended with 143: it said nothing"],
    "echo oops; exit 1": [TERMINAL, "sporeprint load ended with 1: oops"],
    """[ "$1 $2 $3 $4 $5 $6 $7" = "load --run x y --config=c --workdir=w --set=a=b c --json" ] && echo '{"same": 1}'""": {"same": 1},
    """[ -z "$AIRFLOW__CORE__FERNET_KEY$AIRFLOW_HOME" ] && echo '{"kept": 1}'""": {"kept": 1},
}


def test_an_exit_code_says_whether_to_try_again(airflow: Path, tmp_path: Path) -> None:
    programs = []
    for number, script in enumerate(STEPS):
        programs.append(tmp_path / f"sporeprint{number}")
        programs[-1].write_text(f"#!/bin/bash\n{script}\n")
        programs[-1].chmod(0o755)
    words = json.dumps([*map(str, programs), "/nowhere/sporeprint"])
    *found, gone = in_airflow(airflow, tmp_path, STEP, words, AIRFLOW__CORE__FERNET_KEY="secret")
    assert dict(zip(STEPS, found, strict=True)) == STEPS
    assert gone[0] == TERMINAL
    assert gone[1].startswith("cannot start /nowhere/sporeprint: No such file or directory; ./run_etl.sh makes it")


# --- a scheduler -----------------------------------------------------------------------------------------------------


class Source(http.server.BaseHTTPRequestHandler):
    """A source that is down until its server says otherwise."""

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]  # of our own server
        table: bytes = self.server.table if self.server.up else b""  # type: ignore[attr-defined]
        self.send_response(200 if table else 503)
        self.send_header("Content-Length", str(len(table)))
        self.end_headers()
        self.wfile.write(table)

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(table: Path) -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Source)
    server.asked, server.up, server.table = 0, False, table.read_bytes()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Standalone:
    """`airflow standalone`, asked over its HTTP API."""

    def __init__(self, address: str, home: Path, program: Path) -> None:
        self.address, self.home, self.program, self.token = address, home, program, ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def log_in(self) -> bool:
        file = self.home / "simple_auth_manager_passwords.json.generated"
        try:
            password = json.loads(file.read_text())["admin"]
            self.token = self.ask("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]
            names = {dag["dag_id"] for dag in self.ask("GET", "/api/v2/dags")["dags"]}
        except (OSError, ValueError, KeyError):
            return False
        return names == {ETL, MONITORING}

    def start(self, run: str, conf: Mapping[str, Any], dag: str = ETL) -> None:
        def begun() -> bool:
            try:
                self.ask("POST", f"/api/v2/dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": conf})
            except urllib.error.HTTPError as error:
                if error.code not in (409, 500):
                    raise
                return error.code == 409  # an attempt that ended with 500, as where its SQLite is locked, may have begun it
            return True

        assert until(begun)

    def tasks(self, run: str, dag: str = ETL) -> dict[str, tuple[str, int]]:
        """Task -> state, and how often it was tried; one of several made from a list as in "train.0"."""
        instances = self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {
            task["task_id"] + (f".{task['map_index']}" if task["map_index"] >= 0 else ""): (task["state"], task["try_number"])
            for task in instances
        }

    def ended(self, run: str, dag: str = ETL) -> str | None:
        state: str = self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"]
        return state if state in {"success", "failed"} else None

    def log(self, run: str, task: str, attempt: int, dag: str = ETL) -> str:
        name, _, index = task.partition(".")
        query = f"full_content=true&map_index={index or -1}"
        return json.dumps(self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{name}/logs/{attempt}?{query}"))

    def commands(self, run: str, dag: str = ETL) -> dict[str, str]:
        """Task -> the command that it started at last, without the options that all of them share."""
        logs = {task: self.log(run, task, attempt, dag) for task, (_, attempt) in self.tasks(run, dag).items() if attempt}
        found = {task: re.findall(rf"\$ {self.program} ([^\"]*?) --config=", log) for task, log in logs.items()}
        return {task: commands[-1] for task, commands in found.items() if commands}


def until(what: Any, seconds: float = 240, every: float = 1.0) -> Any:
    """Not more often than each second where Airflow is asked: a question costs processor time, which the tasks need."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(every)
    pytest.fail(f"not within {seconds} s")


@pytest.fixture(scope="module")
def lineage() -> Iterator[Receiver]:
    """What receives OpenLineage's events of all runs."""
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def standalone(airflow: Path, lineage: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    home = tmp_path_factory.mktemp("standalone")
    port, workers, triggers = (str(free_port()) for _ in range(3))
    address = f"http://127.0.0.1:{port}"
    program = warm_start.program(home)
    own = environment(
        home,
        MUSHROOM_SPOREPRINT=str(program),
        PATH=f"{airflow.parent}:{os.environ['PATH']}",
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=port,
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{address}/execution/",
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=workers,
        AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=triggers,
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__CORE__PARALLELISM="2",
        OPENLINEAGE_URL=lineage.url,
        AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="600",  # nobody changes them
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
    )
    with (home / "said.log").open("w") as said:
        process = subprocess.Popen([airflow, "standalone"], env=own, stdout=said, stderr=said, start_new_session=True)
    try:
        made = Standalone(address, home, program)
        until(made.log_in)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whoever of its children is left
        process.wait()


@pytest.mark.slow
def test_a_run_through_an_outage_and_a_kill_ends_as_the_whole_run_does_and_a_rerun_beside_another_changes_nothing(
    standalone: Standalone, lineage: Receiver, config: Path, small_run: Path, small_table: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    with served(small_table) as source:
        address = f"http://127.0.0.1:{source.server_port}/table.csv"
        place = {"config": str(config), "workdir": str(work), "source": address}
        standalone.start("down", place)
        until(lambda: standalone.tasks("down")["extract"][1] > 1)
        source.up = True
        until(lambda: standalone.tasks("down")["extract"][0] == "success")
        assert "sporeprint extract ended with 75" in standalone.log("down", "extract", 1)
        os.kill(until(lambda: parent_of("train", work), every=0.05), signal.SIGKILL)  # long before it has ended
        assert until(lambda: standalone.ended("down")) == "success"
        tasks, commands = standalone.tasks("down"), standalone.commands("down")
        trained = [task for task in tasks if task.startswith("train.")]
        assert sorted(tasks[task][1] for task in trained) == [1, 1, 2]
        assert tasks["validate"] == ("success", 1)
        assert sorted(commands.pop(task) for task in trained) == [
            f"train --model {name}" for name in ("decision_tree", "logistic_regression", "xgboost")
        ]
        assert commands.pop("load").startswith("load --run 2")
        assert commands == {
            "configured": "config check",
            "extract": f"extract --source {address}",
            "validate": "validate",
            "transform": "transform",
            "evaluate": "evaluate",
            "register": "register --no-promote",
            "promote": "register",
        }
        assert serving(work) == serving(small_run)
        assert production(work) == production(small_run) is not None
        until(lambda: (work / "models/metrics/monitoring/latest.html").exists())  # the models' asset has started the other DAG

        assert_lineage(lineage, "down", work, address)

        before = changed_at(work)
        standalone.start("again", place)
        until(lambda: standalone.tasks("again")["configured"][0] == "success")
        command = [str(PROGRAM), "etl", f"--config={config}", f"--workdir={work}", f"--source={address}", "--quiet"]
        # It may be told that the other is at work. So may the other, too often: then the next one finishes what is left.
        assert subprocess.run(command, check=False, capture_output=True, timeout=240).returncode in (0, 75)
        if until(lambda: standalone.ended("again")) != "success":
            standalone.start("at_last", place)
            assert until(lambda: standalone.ended("at_last")) == "success"
    assert changed_at(work) == before
    assert production(work) == production(small_run)


def assert_lineage(lineage: Receiver, run: str, work: Path, address: str) -> None:
    """Each task's command has reported what it read and wrote, below one parent: the DAG run."""
    parent = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ETL}/{run}"))
    events = [event for event in lineage.json() if event["run"]["facets"]["parent"]["run"]["runId"] == parent]
    assert {
        (event["run"]["facets"]["parent"]["job"]["namespace"], event["run"]["facets"]["parent"]["job"]["name"]) for event in events
    } == {("default", ETL)}
    ends = [event for event in events if event["eventType"] == "COMPLETE"]
    steps = [event["job"]["name"].removeprefix("mushroom.") for event in ends]
    assert steps == ["extract", "transform", "load", *["train"] * 3, "evaluate", *["register"] * 2]
    assert len({event["run"]["runId"] for event in ends}) == len(ends)
    begun = {event["run"]["runId"]: event["job"]["name"] for event in events if event["eventType"] == "START"}
    assert all(begun[event["run"]["runId"]] == event["job"]["name"] for event in ends)
    # The source was down at first, and a fit was killed, which cannot say so.
    failed = [event for event in events if event["eventType"] == "FAIL"]
    assert {event["job"]["name"] for event in failed} == {"mushroom.extract"}
    by_step = dict(zip(steps, ends, strict=True))
    assert by_step["extract"]["inputs"][0]["name"] == address
    assert [table["name"] for table in by_step["load"]["outputs"]] == [
        str(work / f"data/model_input/{name}.parquet") for name in ("train", "validation", "test")
    ]
    versions = {Path(table["name"]).name: table["facets"]["version"]["datasetVersion"] for table in by_step["register"]["outputs"]}
    assert versions == dict.fromkeys(("decision_tree", "logistic_regression", "xgboost"), "v1") | {"aliases.json": production(work)}


def parent_of(step: str, work: Path) -> int | None:
    """The process of the task whose command is at work."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            if step.encode() in words and f"--workdir={work}".encode() in words:
                return int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_a_bad_table_is_not_tried_again(standalone: Standalone, config: Path, small_table: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    head, *rows = small_table.read_text().splitlines()
    bad.write_text("\n".join([head, *("?" + row[1:] for row in rows)]) + "\n")
    standalone.start("bad", {"config": str(config), "workdir": str(tmp_path / "bad"), "source": str(bad)})
    assert until(lambda: standalone.ended("bad")) == "failed"
    tasks = standalone.tasks("bad")
    assert tasks["validate"] == ("failed", 1)
    assert tasks["promote"][0] == "upstream_failed"
    assert "rows are rejected" in standalone.log("bad", "validate", 1)
    assert not (tmp_path / "bad/models").exists()


@pytest.mark.slow
def test_a_work_directory_that_is_held_is_waited_for(standalone: Standalone, config: Path, small_table: Path, tmp_path: Path) -> None:
    work = tmp_path / "held"
    with run_lock(work):
        standalone.start("held", {"config": str(config), "workdir": str(work), "source": str(small_table)})
        until(lambda: standalone.tasks("held")["extract"][1] > 1)
    until(lambda: standalone.tasks("held")["extract"][0] == "success")
    assert "sporeprint extract ended with 75: another run" in standalone.log("held", "extract", 1)
    standalone.ask("PATCH", f"/api/v2/dags/{ETL}/dagRuns/held", {"state": "failed"})


def test_variables_that_are_there_and_empty_are_as_if_they_were_not(airflow: Path, tmp_path: Path) -> None:
    names = ("MUSHROOM_RETRY_SECONDS", "SPOREPRINT_WORKDIR", "SPOREPRINT_CONFIG", "MUSHROOM_SPOREPRINT", "MUSHROOM_ETL_SCHEDULE")
    code = "import mushroom_etl_dag, mushroom_monitoring_dag, sporeprint_steps; print(sporeprint_steps._program())"
    empty = environment(tmp_path, **dict.fromkeys(names, ""))
    done = subprocess.run(
        [str(airflow.with_name("python")), "-c", code], cwd=DAGS, env=empty, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(ROOT / ".venv/bin/sporeprint")), done.stderr


@pytest.mark.slow
def test_a_wrong_configuration_ends_the_run_at_its_first_task(standalone: Standalone, tmp_path: Path) -> None:
    standalone.start("wrong", {"workdir": str(tmp_path), "set": ["split.sede=1"]})
    assert until(lambda: standalone.ended("wrong")) == "failed"
    assert standalone.tasks("wrong")["configured"] == ("failed", 1)
    assert standalone.commands("wrong") == {"configured": "config check"}
    log = standalone.log("wrong", "configured", 1)
    assert "sporeprint config ended with 3: " in log
    assert "did you mean 'seed'?" in log or "split.seed" in log


@pytest.mark.slow
def test_an_alarm_and_what_could_not_be_computed_end_as_failed_runs(
    standalone: Standalone, config: Path, small_copy: Path, small_table: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.csv"
    head, *rows = small_table.read_text().splitlines()
    changed.write_text("\n".join([head, *[rows[0]] * 600]) + "\n")
    place = {"config": str(config), "workdir": str(small_copy)}
    standalone.start("alarm", {**place, "current": str(changed)}, MONITORING)
    standalone.start("silence", place, MONITORING)  # the service has answered nothing yet
    assert [until(lambda run=run: standalone.ended(run, MONITORING)) for run in ("alarm", "silence")] == ["failed", "failed"]
    assert standalone.commands("alarm", MONITORING) == {"look": f"monitor --current {changed}"}
    assert standalone.commands("silence", MONITORING) == {"sync": "warehouse sync", "look": "monitor"}
    for run, reason in (("alarm", "alarm"), ("silence", "not all could be computed")):
        assert standalone.tasks(run, MONITORING)["judge"] == ("failed", 1)
        assert f"{reason}: see models/metrics/monitoring/" in standalone.log(run, "judge", 1, MONITORING)

"""The DAGs in a real Airflow: imported, run by `airflow dags test`, and by a scheduler whose tasks fail, are tried again and are killed."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

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
        "NO_PROXY": "*",
        **more,
    }


@pytest.fixture(scope="session")
def home(airflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AIRFLOW_HOME with its database."""
    made = tmp_path_factory.mktemp("airflow")
    subprocess.run([str(airflow), "db", "migrate"], env=environment(made), check=True, capture_output=True, timeout=120)
    return made


@pytest.fixture
def one_model(small_config: dict[str, Any], tmp_path: Path) -> Path:
    raw = {**small_config, "models": {"decision_tree": small_config["models"]["decision_tree"]}}
    path = tmp_path / "config.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    return path


def dags_test(airflow: Path, home: Path, dag: str, conf: Mapping[str, Any]) -> tuple[int, str]:
    """`airflow dags test`: exit code, and everything it said."""
    command = [str(airflow), "dags", "test", dag, "--conf", json.dumps(conf)]
    done = subprocess.run(
        command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400
    )
    return done.returncode, done.stdout


def ran(said: str) -> list[str]:
    """The commands that were started, without the options all of them share."""
    lines = (line.removeprefix(f"$ {PROGRAM} ") for line in said.splitlines() if line.startswith(f"$ {PROGRAM} "))
    return [" ".join(word for word in line.split(" ") if not word.startswith("--config=")).partition(" --workdir=")[0] for line in lines]


def serving(root: Path) -> dict[str, bytes]:
    names = {"encoder.json", "scorer.json", "linear.json", "model.onnx", "model.json", "schema.json"}
    found = sorted(path for path in (root / "models/registry").glob("*/v*/*") if path.name in names)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


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


def test_the_dags_are_imported_without_an_error_or_a_warning(airflow: Path, home: Path) -> None:
    code = (
        "import json; from airflow.dag_processing.dagbag import DagBag; bag = DagBag('.');"
        "print(json.dumps([sorted(bag.dags), bag.import_errors, {k: list(v) for k, v in bag.captured_warnings.items()},"
        "[dag.max_active_runs for dag in bag.dags.values()], bag.dags['mushroom_etl'].task_dict['train'].max_active_tis_per_dagrun]))"
    )
    assert in_airflow(airflow, home, code) == [[ETL, MONITORING], {}, {}, [1, 1], 1]


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


def test_an_exit_code_says_whether_to_try_again(airflow: Path, home: Path, tmp_path: Path) -> None:
    programs = []
    for number, script in enumerate(STEPS):
        programs.append(tmp_path / f"sporeprint{number}")
        programs[-1].write_text(f"#!/bin/bash\n{script}\n")
        programs[-1].chmod(0o755)
    words = json.dumps([*map(str, programs), "/nowhere/sporeprint"])
    *found, gone = in_airflow(airflow, home, STEP, words, AIRFLOW__CORE__FERNET_KEY="secret")
    assert dict(zip(STEPS, found, strict=True)) == STEPS
    assert gone[0] == TERMINAL
    assert gone[1].startswith("cannot start /nowhere/sporeprint: No such file or directory; ./run_etl.sh makes it")


# --- airflow dags test -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_etl_dag_ends_as_the_whole_run_does_and_the_monitoring_dag_looks(
    airflow: Path, home: Path, real_run: Path, real_data: Path, tmp_path: Path
) -> None:
    place = {"workdir": str(tmp_path), "set": ["runtime.threads=1"]}
    code, said = dags_test(airflow, home, ETL, {**place, "source": str(real_data)})
    assert code == 0, said
    *before, load = ran(said)[:5]
    assert before == ["config check", f"extract --source {real_data}", "validate", "transform"]
    assert load.startswith("load --run 2")
    assert sorted(ran(said)[5:8]) == [f"train --model {name}" for name in ("decision_tree", "logistic_regression", "xgboost")]
    assert ran(said)[8:] == ["evaluate", "register --no-promote", "register"]
    assert serving(tmp_path) == serving(real_run)
    assert production(tmp_path) == production(real_run) is not None
    code, said = dags_test(airflow, home, MONITORING, {**place, "current": str(real_data)})
    assert code == 0, said
    assert ran(said) == [f"monitor --current {real_data}"]
    assert (tmp_path / "models/metrics/monitoring/latest.html").exists()


def test_a_wrong_configuration_ends_the_run_at_its_first_task(airflow: Path, home: Path, tmp_path: Path) -> None:
    code, said = dags_test(airflow, home, ETL, {"workdir": str(tmp_path), "set": ["split.sede=1"]})
    assert code == 1
    assert ran(said) == ["config check"]
    assert "AirflowFailException: sporeprint config ended with 3: " in said
    assert "did you mean 'seed'?" in said or "split.seed" in said
    assert "DagRun failed" in said


def etl(config: Path, work: Path, source: Path) -> None:
    """The whole run without Airflow."""
    command = [str(PROGRAM), "etl", f"--config={config}", f"--workdir={work}", f"--source={source}", "--quiet"]
    subprocess.run(command, check=True, capture_output=True, timeout=240)


@pytest.mark.slow
def test_two_runs_at_once_harm_nothing_and_a_rerun_changes_nothing(
    airflow: Path, home: Path, one_model: Path, small_table: Path, tmp_path: Path
) -> None:
    work, straight = tmp_path / "work", tmp_path / "straight"
    conf = {"config": str(one_model), "workdir": str(work), "source": str(small_table)}
    with ThreadPoolExecutor(2) as at_once:
        both = [at_once.submit(dags_test, airflow, place, ETL, conf) for place in (home, second_home(home, tmp_path))]
        for each in both:
            each.result()
    etl(one_model, straight, small_table)
    # One of them may have been told too often that the other is at work; the next one finishes what is left.
    code, text = dags_test(airflow, home, ETL, conf)
    assert code == 0, text
    assert serving(work) == serving(straight)
    assert production(work) == production(straight) == "decision_tree/v1"
    before = {path: path.stat().st_mtime_ns for path in (work / "models/registry").rglob("*") if path.is_file()}
    assert dags_test(airflow, home, ETL, conf)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (work / "models/registry").rglob("*") if path.is_file()} == before


def second_home(home: Path, tmp_path: Path) -> Path:
    """An Airflow of its own: one keeps two runs of a DAG apart by itself, two do not know of each other."""
    made = tmp_path / "airflow"
    made.mkdir()
    shutil.copy(home / "airflow.db", made)
    return made


@pytest.mark.slow
def test_an_alarm_and_what_could_not_be_computed_end_as_failed_runs(
    airflow: Path, home: Path, small_copy: Path, small_config: dict[str, Any], small_table: Path, tmp_path: Path
) -> None:
    config, changed = tmp_path / "config.yaml", tmp_path / "changed.csv"
    YAML(typ="safe", pure=True).dump(small_config, config)
    head, *rows = small_table.read_text().splitlines()
    changed.write_text("\n".join([head, *[rows[0]] * 600]) + "\n")
    place = {"config": str(config), "workdir": str(small_copy)}
    code, said = dags_test(airflow, home, MONITORING, {**place, "current": str(changed)})
    assert code == 1
    assert ran(said) == [f"monitor --current {changed}"]
    assert "AirflowFailException: alarm: see models/metrics/monitoring/" in said
    code, said = dags_test(airflow, home, MONITORING, place)  # the service has answered nothing yet
    assert code == 1
    assert ran(said) == ["warehouse sync", "monitor"]
    assert "AirflowFailException: not all could be computed: see models/metrics/monitoring/" in said


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


def free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [str(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Standalone:
    """`airflow standalone`, asked over its HTTP API."""

    def __init__(self, address: str, home: Path) -> None:
        self.address, self.home, self.token = address, home, ""

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

    def start(self, run: str, conf: Mapping[str, Any]) -> None:
        self.ask("POST", f"/api/v2/dags/{ETL}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": conf})

    def tasks(self, run: str, dag: str = ETL) -> dict[str, tuple[str, int]]:
        """Task -> state, and how often it was tried."""
        found = self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: (task["state"], task["try_number"]) for task in found}

    def ended(self, run: str) -> str | None:
        state: str = self.ask("GET", f"/api/v2/dags/{ETL}/dagRuns/{run}")["state"]
        return state if state in {"success", "failed"} else None

    def log(self, run: str, task: str, attempt: int) -> str:
        path = f"/api/v2/dags/{ETL}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?full_content=true"
        return json.dumps(self.ask("GET", path))


def until(what: Any, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    pytest.fail(f"not within {seconds} s")


@pytest.fixture(scope="module")
def standalone(airflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    home = tmp_path_factory.mktemp("standalone")
    port, workers, triggers = free_ports(3)
    address = f"http://127.0.0.1:{port}"
    own = environment(
        home,
        PATH=f"{airflow.parent}:{os.environ['PATH']}",
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=port,
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{address}/execution/",
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=workers,
        AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=triggers,
        AIRFLOW__CORE__PARALLELISM="2",
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
    )
    with (home / "said.log").open("w") as said:
        process = subprocess.Popen([airflow, "standalone"], env=own, stdout=said, stderr=said, start_new_session=True)
    try:
        made = Standalone(address, home)
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
def test_a_source_that_is_down_is_tried_again_and_a_killed_task_is_rerun(
    standalone: Standalone, one_model: Path, small_table: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    with served(small_table) as source:
        address = f"http://127.0.0.1:{source.server_port}/table.csv"
        standalone.start("down", {"config": str(one_model), "workdir": str(work), "source": address})
        until(lambda: standalone.tasks("down")["extract"][1] > 1)
        source.up = True
        until(lambda: standalone.tasks("down")["extract"][0] == "success")
    assert "sporeprint extract ended with 75" in standalone.log("down", "extract", 1)
    os.kill(until(lambda: parent_of("train", work)), signal.SIGKILL)
    assert until(lambda: standalone.ended("down")) == "success"
    tasks = standalone.tasks("down")
    assert tasks["train"][0] == "success"
    assert tasks["train"][1] > 1
    assert tasks["validate"] == ("success", 1)
    straight = tmp_path / "straight"
    etl(one_model, straight, small_table)
    assert serving(work) == serving(straight)
    assert serving(work)
    assert production(work) == production(straight) == "decision_tree/v1"
    until(lambda: (work / "models/metrics/monitoring/latest.html").exists())  # the models' asset has started the other DAG


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
def test_a_bad_table_is_not_tried_again(standalone: Standalone, one_model: Path, small_table: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    head, *rows = small_table.read_text().splitlines()
    bad.write_text("\n".join([head, *("?" + row[1:] for row in rows)]) + "\n")
    standalone.start("bad", {"config": str(one_model), "workdir": str(tmp_path / "bad"), "source": str(bad)})
    assert until(lambda: standalone.ended("bad")) == "failed"
    tasks = standalone.tasks("bad")
    assert tasks["validate"] == ("failed", 1)
    assert tasks["promote"][0] == "upstream_failed"
    assert "rows are rejected" in standalone.log("bad", "validate", 1)
    assert not (tmp_path / "bad/models").exists()


@pytest.mark.slow
def test_a_work_directory_that_is_held_is_waited_for(standalone: Standalone, one_model: Path, small_table: Path, tmp_path: Path) -> None:
    work = tmp_path / "held"
    with run_lock(work):
        standalone.start("held", {"config": str(one_model), "workdir": str(work), "source": str(small_table)})
        until(lambda: standalone.tasks("held")["extract"][1] > 1)
    until(lambda: standalone.tasks("held")["extract"][0] == "success")
    assert "sporeprint extract ended with 75: another run" in standalone.log("held", "extract", 1)
    standalone.ask("PATCH", f"/api/v2/dags/{ETL}/dagRuns/held", {"state": "failed"})


def test_variables_that_are_there_and_empty_are_as_if_they_were_not(airflow: Path, home: Path) -> None:
    names = ("MUSHROOM_RETRY_SECONDS", "SPOREPRINT_WORKDIR", "SPOREPRINT_CONFIG", "MUSHROOM_SPOREPRINT", "MUSHROOM_ETL_SCHEDULE")
    code = "import mushroom_etl_dag, mushroom_monitoring_dag, sporeprint_steps; print(sporeprint_steps._program())"
    empty = environment(home, **dict.fromkeys(names, ""))
    done = subprocess.run(
        [str(airflow.with_name("python")), "-c", code], cwd=DAGS, env=empty, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(ROOT / ".venv/bin/sporeprint")), done.stderr

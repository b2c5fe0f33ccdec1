"""The scripts a person starts first. Set-ups run for real, in a copy of the project, with a stand-in for uv that logs its calls."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from journal_support import until

ROOT = Path(__file__).parents[2]
DOCKER = ["docker/mariadb/start.sh", "docker/mariadb/oltp-accounts.sh", "docker/mariadb/olap-accounts.sh"]
SCRIPTS = [
    "run_etl.sh",
    "run_api.sh",
    "run_tests.sh",
    ".ci/run",
    "scripts/setup.sh",
    "scripts/services.sh",
    "scripts/lock.sh",
    "scripts/docs.sh",
    "scripts/lowest.sh",
    "scripts/pythons.sh",
    "scripts/airflow_dev.sh",
    "examples/tour.sh",
    "notebooks/run.sh",
]
SCRIPTS += DOCKER
STARTED = [name for name in SCRIPTS if name not in {"scripts/setup.sh", "scripts/services.sh"}]

UV = """\
#!/usr/bin/env bash
# Stands in for uv: makes an environment whose python is the tests' own and whose sporeprint says how it was called.
set -eu
echo "$*" >>"$UV_LOG"
venv=$UV_ROOT/.venv
case "$*" in *.venv-airflow*) venv=$UV_ROOT/.venv-airflow ;; esac
case "$1 $2" in
  "venv "*)
    mkdir -p "$venv/bin"
    touch "$venv/pyvenv.cfg"
    printf '#!/bin/sh\\nexec "%s" "$@"\\n' "$PYTHON" >"$venv/bin/python"
    chmod +x "$venv/bin/python"
    ;;
  "pip install")
    sleep "${UV_SLEEP:-0}"
    [ -z "${UV_FAIL:-}" ] || exit 7
    cat >"$venv/bin/sporeprint" <<'END'
#!/usr/bin/env bash
printf 'config=%s\\nworkdir=%s\\n' "$SPOREPRINT_CONFIG" "$SPOREPRINT_WORKDIR"
printf 'argument=%s\\n' "$@"
sleep "${RUN_SLEEP:-0}"
END
    chmod +x "$venv/bin/sporeprint"
    printf '#!/bin/sh\\nprintenv | grep AIRFLOW | sort\\necho "argument=$*"\\n' >"$venv/bin/airflow"
    chmod +x "$venv/bin/airflow"
    ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the project in a folder with a space in its name, and the stand-in for uv."""

    root: Path
    bin: Path
    log: Path

    def environment(self, **more: str) -> dict[str, str]:
        own = {"PATH": f"{self.bin}:/usr/bin:/bin", "PYTHON": sys.executable, "UV_LOG": str(self.log), "UV_ROOT": str(self.root)}
        return {**own, **more}

    def start(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(self.root / command[0]), *command[1:]],
            cwd=cwd or self.root,
            env=env or self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> tuple[int, str, str]:
        process = self.start(*command, cwd=cwd, env=self.environment(**env))
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def calls(self) -> list[str]:
        """What was asked of uv since the last look: "venv" or the requirements file or "." for the project itself."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines()
        self.log.unlink()
        return ["venv" if line.startswith("venv") else "project" if " -e " in line else line.rsplit("/", 1)[1] for line in lines]


ALL = ["venv", "requirements.txt", "project"]
UPDATE = ["requirements.txt", "project"]


@pytest.fixture
def copied(tmp_path: Path) -> Copy:
    root = tmp_path / "my projects" / "sporeprint"
    (root / "scripts").mkdir(parents=True)
    needed = (
        "scripts/setup.sh",
        "scripts/install_progress.py",
        "scripts/airflow_dev.sh",
        "scripts/airflow-requirements.txt",
        "requirements.txt",
        "requirements-dev.txt",
    )
    for name in ("run_etl.sh", "run_tests.sh", "pyproject.toml", *needed):
        shutil.copy(ROOT / name, root / name)
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    return Copy(root=root, bin=tmp_path / "bin", log=tmp_path / "uv.log")


# --- what can be seen without running


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_valid_strict_bash(name: str) -> None:
    subprocess.run(["bash", "-n", ROOT / name], check=True)
    if name in STARTED:
        assert os.access(ROOT / name, os.X_OK)
        assert "\nset -euo pipefail\n" in (ROOT / name).read_text()


def test_the_hosted_workflow_and_the_hooks_run_what_is_there() -> None:
    yaml = YAML(typ="safe", pure=True)
    jobs = yaml.load(ROOT / ".github/workflows/ci.yml")["jobs"]
    runs = [step["run"].split()[0] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert {"./run_etl.sh", ".ci/run", "scripts/lowest.sh", "scripts/pythons.sh", "scripts/docs.sh"} <= set(runs)
    assert [run for run in runs if "/" in run and not os.access(ROOT / run, os.X_OK)] == []
    matrices = [job.get("strategy", {}).get("matrix", {}).get("python", []) for job in jobs.values()]
    named = {
        each.rpartition(" ")[2]
        for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
        if ":: 3." in each
    }
    assert {version for matrix in matrices for version in matrix} == named
    hooks = [hook for repo in yaml.load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "mypy"}
    assert tools <= set(pins("requirements-dev.txt"))


@pytest.mark.parametrize(
    "name", [*SCRIPTS, "requirements.txt", "requirements-dev.txt", "scripts/airflow-requirements.txt", "docker/requirements-api.txt"]
)
def test_script_names_no_address_and_no_folder_of_one_machine(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://(?!localhost)|(?<!emit-)index-url|(?<![\w.$}\"])/(home|root|work|tmp|opt|Users)\b", text)


# --- locked requirements


def pins(name: str) -> dict[str, str]:
    """Package -> version, of a file in which every line that is no comment pins a package or holds a hash of the one above."""
    found = {}
    hashed = set()
    package = ""
    for line in (ROOT / name).read_text().splitlines():
        if match := re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)( ; [^\\]+)? \\", line):
            package = match[1]
            assert package not in found, f"{package} is pinned twice: one version for every Python"
            found[package] = match[2]
        elif re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashed.add(package)
        else:
            assert line.startswith("#"), line
    assert hashed == set(found)
    return found


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *(project["project"]["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for text in (*project["build-system"]["requires"], *(text for texts in lists for text in texts))]


ALL_EXTRAS = ("serve", "train")


@pytest.mark.parametrize(("name", "extras"), [("requirements.txt", ALL_EXTRAS), ("requirements-dev.txt", (*ALL_EXTRAS, "dev"))])
def test_locked_versions_are_what_the_project_declares(name: str, extras: tuple[str, ...]) -> None:
    locked = pins(name)
    for requirement in declared(*extras):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), f"{requirement}: run scripts/lock.sh"


def test_tools_are_locked_over_the_same_versions() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


def test_no_package_for_a_graphics_card_is_locked() -> None:
    assert [name for name in pins("requirements-dev.txt") if re.search(r"nvidia|cuda|cupy|triton|torch|^xgboost$", name)] == []


# --- set-up


def test_first_start_sets_up_and_the_second_only_starts(copied: Copy) -> None:
    code, out, err = copied.run("run_etl.sh")
    assert (code, copied.calls()) == (0, ALL)
    assert "set-up: new .venv (there was none) with Python 3." in err
    assert "every file checked against its sha256" in err
    assert re.search(r"set-up: done in \d+ s", err)
    started = time.perf_counter()
    assert copied.run("run_etl.sh") == (0, out, "")
    assert time.perf_counter() - started < 1
    assert copied.calls() == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "pyproject.toml"])
def test_change_of_the_requirements_brings_the_environment_up_to_date(copied: Copy, name: str) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    with (copied.root / name).open("a") as file:
        file.write("\n# changed\n")
    os.utime(copied.root / name, (0, 0))  # a file from an archive can be older than the environment
    code, _, err = copied.run("run_etl.sh")
    assert (code, copied.calls()) == (0, UPDATE)
    assert "set-up: bringing .venv up to date" in err
    copied.run("run_etl.sh")
    assert copied.calls() == []


def test_touched_file_without_a_change_changes_nothing(copied: Copy) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    (copied.root / "requirements.txt").touch()
    copied.run("run_etl.sh")
    assert copied.calls() == []


def test_failed_setup_starts_nothing_and_is_done_anew(copied: Copy) -> None:
    code, out, _ = copied.run("run_etl.sh", UV_FAIL="1")
    assert (code, out) == (7, "")
    copied.calls()
    code, _, err = copied.run("run_etl.sh")
    assert (code, copied.calls()) == (0, ALL)
    assert "set-up: new .venv (an earlier set-up was interrupted)" in err


def test_failed_update_is_done_anew(copied: Copy) -> None:
    copied.run("run_etl.sh")
    (copied.root / "requirements.txt").write_text("# nothing\n")
    assert copied.run("run_etl.sh", UV_FAIL="1")[0] == 7
    copied.calls()
    copied.run("run_etl.sh")
    assert copied.calls() == ALL


def test_killed_setup_is_done_anew(copied: Copy) -> None:
    process = copied.start("run_etl.sh", env=copied.environment(UV_SLEEP="60"))
    deadline = time.monotonic() + 30
    while not (copied.log.exists() and "pip install" in copied.log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    copied.calls()
    code, _, err = copied.run("run_etl.sh")
    assert (code, copied.calls()) == (0, ALL)
    assert "an earlier set-up was interrupted" in err


def test_two_at_once_set_up_once(copied: Copy) -> None:
    processes = [copied.start("run_etl.sh", env=copied.environment(UV_SLEEP="0.5")) for _ in range(2)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert copied.calls() == ALL
    assert sum("another set-up is under way in this folder: waiting for it" in err for _, err in results) == 1
    assert results[0][0] == results[1][0] != ""


def test_lock_is_not_held_by_what_is_started(copied: Copy) -> None:
    """Otherwise a second start after a change would wait for the first run's end."""
    running = copied.start("run_etl.sh", env=copied.environment(RUN_SLEEP="60"))
    assert running.stdout is not None
    assert running.stdout.readline().startswith("config=")
    (copied.root / "requirements.txt").write_text("# nothing\n")
    assert "under way" not in copied.run("run_etl.sh")[2]
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def test_moved_folder_is_set_up_anew(copied: Copy) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    moved = Copy(root=copied.root.with_name("elsewhere"), bin=copied.bin, log=copied.log)
    copied.root.rename(moved.root)
    code, _, err = moved.run("run_etl.sh")
    assert (code, moved.calls()) == (0, ALL)
    assert "the folder was moved or copied" in err


def test_environment_whose_python_is_gone_is_made_anew(copied: Copy) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    python = copied.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    code, _, err = copied.run("run_etl.sh")
    assert (code, copied.calls()) == (0, ALL)
    assert "its Python does not run or is too old" in err


def test_environment_made_by_hand_is_kept_and_filled(copied: Copy) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    (copied.root / ".venv" / ".sporeprint-setup").unlink()
    (copied.root / ".venv" / "mine").touch()
    assert copied.run("run_etl.sh")[0] == 0
    assert copied.calls() == UPDATE
    assert (copied.root / ".venv" / "mine").exists()


def test_folder_that_is_no_environment_is_not_touched(copied: Copy) -> None:
    (copied.root / ".venv").mkdir()
    (copied.root / ".venv" / "thesis.txt").touch()
    code, _, err = copied.run("run_etl.sh")
    assert code == 1
    assert f"error: {copied.root}/.venv is there, but it is not a virtual environment; move it away and start again" in err
    assert (copied.root / ".venv" / "thesis.txt").exists()


@pytest.mark.parametrize("leave", ["an empty folder", "a link to nowhere"])
def test_next_to_nothing_is_replaced(copied: Copy, leave: str) -> None:
    venv = copied.root / ".venv"
    if leave == "an empty folder":
        venv.mkdir()
    else:
        venv.symlink_to("nowhere")
    assert copied.run("run_etl.sh")[0] == 0
    assert copied.calls() == ALL


def test_what_an_interrupted_removal_left_is_cleared(copied: Copy) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    venv = copied.root / ".venv"
    (venv / "pyvenv.cfg").unlink()
    (venv / "lib").mkdir()
    (venv / ".sporeprint-setup").write_text("incomplete\n")
    assert copied.run("run_etl.sh")[0] == 0
    assert copied.calls() == ALL
    assert not (venv / "lib").exists()


def test_tools_come_on_top_and_hold_the_rest(copied: Copy) -> None:
    copied.run("run_etl.sh")
    copied.calls()
    code, out, _ = copied.run("run_tests.sh", "--version", cwd=copied.bin)
    assert (code, copied.calls()) == (0, ["requirements-dev.txt", "project"])
    assert re.match(r"pytest \d", out)
    copied.run("run_etl.sh")
    assert copied.calls() == []


def test_what_some_tests_need_is_set_up_beside_the_others(copied: Copy) -> None:
    copied.run("run_tests.sh", "--version")
    copied.calls()
    code, out, err = copied.run("run_tests.sh", "--version", REQUIRE_AIRFLOW="1")
    assert (code, copied.calls()) == (0, ["venv", "airflow-requirements.txt"]), err
    assert re.match(r"pytest \d", out)


def test_what_notebooks_need_comes_on_top_once(copied: Copy) -> None:
    for name in ("notebooks", "models/metrics"):
        (copied.root / name).mkdir(parents=True)
    for name in ("notebooks/run.sh", "scripts/notebook-requirements.txt"):
        shutil.copy(ROOT / name, copied.root / name)
    (copied.root / "notebooks/render.py").write_text("import os, sys\nprint(*sys.argv[1:], os.environ['SPOREPRINT_WORKDIR'])\n")
    (copied.root / "models/metrics/report.html").touch()
    code, out, _ = copied.run("notebooks/run.sh")
    assert (code, out, copied.calls()) == (0, f"run {copied.root}\n", [*ALL, "notebook-requirements.txt"])
    assert copied.run("notebooks/run.sh") == (0, out, "")
    assert copied.calls() == []


def test_python_that_is_too_old_is_named(copied: Copy) -> None:
    for name in ("python3.13", "python3.12", "python3.11", "python3", "python"):
        (copied.bin / name).write_text("#!/bin/sh\necho '3.9.2 at /usr/bin/python3.9'\nexit 1\n")
        (copied.bin / name).chmod(0o755)
    code, out, err = copied.run("run_etl.sh", PYTHON="")
    assert (code, out) == (1, "")
    assert "error: sporeprint needs Python 3.11 or newer; found: 3.9.2 at /usr/bin/python3.9. Install one" in err
    assert "PYTHON=/path/to/python" in err
    assert not (copied.root / ".venv").exists()


def test_no_python_at_all_is_said(copied: Copy) -> None:
    for name in ("python3.13", "python3.12", "python3.11", "python3", "python"):
        (copied.bin / name).write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
        (copied.bin / name).chmod(0o755)
    assert "found: no Python at all. Install one" in copied.run("run_etl.sh", PYTHON="")[2]


BACKEND = '''\
"""A build backend of the standard library alone, so that the set-up with pip needs no network."""
import zipfile, pathlib

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "sporeprint-0.0.0-py3-none-any.whl"
    info = "sporeprint-0.0.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("sporeprint.py", "def main():\\n    import sys\\n    print('called', *sys.argv[1:])\\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: sporeprint\\nVersion: 0.0.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\\nsporeprint = sporeprint:main\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise NotImplementedError
'''


@pytest.mark.slow
def test_without_uv_pip_sets_up(copied: Copy) -> None:
    """The real venv and the real pip, on a project and requirements that need no network."""
    (copied.bin / "uv").unlink()
    (copied.root / "requirements.txt").write_text("# nothing\n")
    (copied.root / "backend.py").write_text(BACKEND)
    (copied.root / "pyproject.toml").write_text(
        '[project]\nname = "sporeprint"\nversion = "0.0.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    code, out, err = copied.run("run_etl.sh", "--json", PIP_NO_INDEX="1")
    assert (code, out) == (0, "called etl --json\n"), err
    assert "with pip" in err
    assert copied.run("run_etl.sh", "--json") == (0, out, "")


# --- what is started, and with what


def started(out: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in out.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


def test_results_go_below_the_project_wherever_it_is_started(copied: Copy, tmp_path: Path) -> None:
    out = copied.run("run_etl.sh", cwd=tmp_path)[1]
    assert started(out) == {
        "config": [f"{copied.root}/config/config.yaml"],
        "workdir": [str(copied.root)],
        "argument": ["etl"],
    }


def test_a_choice_in_the_environment_is_kept(copied: Copy) -> None:
    out = copied.run("run_etl.sh", SPOREPRINT_CONFIG="other.yaml", SPOREPRINT_WORKDIR="/elsewhere")[1]
    assert started(out)["config"] == ["other.yaml"]
    assert started(out)["workdir"] == ["/elsewhere"]


def test_arguments_arrive_as_they_were_given(copied: Copy) -> None:
    arguments = ["--source", "my file.csv", "", "*", "--set", "a=b c"]
    assert started(copied.run("run_etl.sh", *arguments)[1])["argument"] == ["etl", *arguments]


# --- Airflow, in an environment of its own

AIRFLOW = [*ALL, "venv", "airflow-requirements.txt"]


def test_airflow_is_set_up_beside_the_project_and_started(copied: Copy) -> None:
    code, out, err = copied.run("scripts/airflow_dev.sh", cwd=copied.bin)
    assert (code, copied.calls()) == (0, AIRFLOW), err
    said = started(out)
    assert said["argument"] == ["standalone"]
    assert said["AIRFLOW_HOME"] == [f"{copied.root}/.airflow"]
    assert said["AIRFLOW__CORE__DAGS_FOLDER"] == [f"{copied.root}/dags"]
    assert said["AIRFLOW__API__HOST"] == ["127.0.0.1"]
    assert "password in" in err
    assert copied.run("scripts/airflow_dev.sh")[1] == out
    assert copied.calls() == []
    assert started(copied.run("scripts/airflow_dev.sh", AIRFLOW_HOME="/elsewhere")[1])["AIRFLOW_HOME"] == ["/elsewhere"]


def test_airflow_is_only_set_up_where_that_is_asked_for(copied: Copy) -> None:
    assert copied.run("scripts/airflow_dev.sh", "--setup")[:2] == (0, "")
    assert copied.calls() == AIRFLOW
    assert copied.run("run_etl.sh")[0] == 0
    assert copied.calls() == []
    with (copied.root / "scripts/airflow-requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert copied.run("scripts/airflow_dev.sh", "--setup")[0] == 0
    assert copied.calls() == ["venv", "airflow-requirements.txt"]


def test_failed_setup_of_airflow_is_done_anew(copied: Copy) -> None:
    copied.run("run_etl.sh")
    assert copied.run("scripts/airflow_dev.sh", UV_FAIL="1")[:2] == (7, "")
    copied.calls()
    assert copied.run("scripts/airflow_dev.sh", "--setup")[0] == 0
    assert copied.calls() == ["venv", "airflow-requirements.txt"]


def test_airflow_knows_no_other_option(copied: Copy) -> None:
    assert copied.run("scripts/airflow_dev.sh", "--help")[0] == 1
    assert copied.calls() == []


# --- data beside the project


@pytest.fixture
def shared(copied: Copy) -> Path:
    folder = copied.root.parent / "shared" / "data"
    folder.mkdir(parents=True)
    for name in ("secondary", "primary"):
        (folder / f"{name}_data.csv").write_text(f"{name}\r\n")
        (folder / f"{name}_data.csv").chmod(0o444)
    return folder


def raw(folder: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in (folder / "data" / "raw").iterdir()}


TABLES = {"secondary_data.csv": "secondary\r\n", "primary_data.csv": "primary\r\n"}


@pytest.mark.parametrize("command", [("run_etl.sh",), ("run_tests.sh", "--version")])
def test_tables_beside_the_project_are_copied_once(copied: Copy, shared: Path, command: tuple[str, ...]) -> None:
    assert "data: copied ../shared/data/secondary_data.csv" in copied.run(*command)[2]
    assert raw(copied.root) == TABLES
    (copied.root / "data" / "raw" / "secondary_data.csv").write_text("mine")
    assert "data: " not in copied.run(*command)[2]
    assert raw(copied.root)["secondary_data.csv"] == "mine"


@pytest.mark.parametrize("arguments", [["--workdir", "out put"], ["--workdir=out put"]])
def test_tables_are_copied_to_the_work_directory(copied: Copy, shared: Path, tmp_path: Path, arguments: list[str]) -> None:
    copied.run("run_etl.sh", *arguments, cwd=tmp_path)
    assert raw(tmp_path / "out put") == TABLES
    assert not (copied.root / "data").exists()


@pytest.mark.parametrize("arguments", [["--source", "x.csv"], ["--source=x.csv"], ["--config", "c.yaml"], ["--config=c.yaml"], ["--help"]])
def test_tables_are_not_copied_where_they_are_not_wanted(copied: Copy, shared: Path, arguments: list[str]) -> None:
    copied.run("run_etl.sh", *arguments)
    assert not (copied.root / "data").exists()


# --- tests on the real table


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A small suite below the project's own conftest: one test needs the real table, one does not."""
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("conftest.py", "helpers/free_ports.py", "helpers/mariadb_server.py", "helpers/shared_folder.py", "helpers/warm_start.py"):
        shutil.copy(ROOT / "tests" / name, tests)
    (tests / "test_it.py").write_text("def test_a(real_data):\n    assert real_data.exists()\n\ndef test_b():\n    pass\n")
    return tmp_path


def pytest_in(suite: Path, **environ: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "pythonpath=tests", "tests"]
    done = subprocess.run(command, cwd=suite, env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_without_the_table_its_tests_are_left_out_and_counted(suite: Path) -> None:
    code, out = pytest_in(suite)
    assert code == 0
    assert "1 tests on the real table were left out: " in out
    assert "1 passed, 1 deselected" in out.splitlines()[-1]


def test_without_the_table_its_tests_fail_where_it_is_required(suite: Path) -> None:
    code, out = pytest_in(suite, REQUIRE_REAL_DATA="1")
    assert code == 1
    assert "secondary_data.csv is missing, and REQUIRE_REAL_DATA=1 asks for it" in out
    assert "1 passed, 1 error" in out.splitlines()[-1]


@pytest.mark.parametrize("environ", [{}, {"REQUIRE_REAL_DATA": "1"}])
def test_with_the_table_every_test_runs(suite: Path, environ: dict[str, str]) -> None:
    (suite / "data" / "raw").mkdir(parents=True)
    (suite / "data" / "raw" / "secondary_data.csv").touch()
    code, out = pytest_in(suite, **environ)
    assert code == 0
    assert "2 passed" in out.splitlines()[-1]
    assert "left out" not in out


# --- tests that need what is set up beside them


def test_a_test_waits_for_what_is_still_set_up(suite: Path) -> None:
    (suite / "tests/test_it.py").write_text(
        "import pathlib\npathlib.Path('begun').touch()\n\ndef test_a(clients):\n    assert clients.exists()\n"
    )
    requirements, python = suite / "scripts/clients-requirements.txt", suite / ".venv-clients/bin/python"
    requirements.parent.mkdir()
    with requirements.open("w") as file, ThreadPoolExecutor() as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        tests = pool.submit(pytest_in, suite, REQUIRE_CLIENTS="1")
        until((suite / "begun").exists)
        time.sleep(1)  # were it not to wait, it would have failed by now
        python.parent.mkdir(parents=True)
        python.touch()
        fcntl.flock(file, fcntl.LOCK_UN)
        assert tests.result()[0] == 0


# --- tests on a real MariaDB


@pytest.fixture
def served(suite: Path) -> Path:
    """A small suite where there is no mariadbd: of four tests, one asks for it, one does by a parameter."""
    with (suite / "tests" / "mariadb_server.py").open("a") as file:
        file.write("\nMARIADBD = None\n")
    (suite / "tests" / "test_it.py").write_text(
        "import pytest\n\ndef test_a(mariadb):\n    pass\n\ndef test_b():\n    pass\n\n"
        "@pytest.mark.parametrize('engine', ['sqlite', 'mariadb'])\ndef test_c(engine, request):\n"
        "    assert engine == 'sqlite' or request.getfixturevalue('mariadb')\n"
    )
    return suite


def test_without_mariadb_its_tests_are_left_out_and_counted(served: Path) -> None:
    code, out = pytest_in(served)
    assert code == 0
    assert "2 tests on a real MariaDB were left out: no mariadbd here" in out
    assert "2 passed, 2 deselected" in out.splitlines()[-1]


def test_without_mariadb_its_tests_fail_where_it_is_required(served: Path) -> None:
    code, out = pytest_in(served, REQUIRE_SERVICES="1")
    assert code == 1
    assert "no mariadbd here (on Debian and Ubuntu: apt install mariadb-server), and REQUIRE_SERVICES=1 asks for it" in out
    assert "1 failed, 2 passed, 1 error" in out.splitlines()[-1]

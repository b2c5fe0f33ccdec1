"""The program as it is installed: exit codes, streams, help. And its commands, on a small simulated table."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer.main
from ruamel.yaml import YAML
from typer.testing import CliRunner

import warm_start
from command_names import COMMANDS
from sporeprint import __version__
from sporeprint import settings as sporeprint_settings
from sporeprint.cli import app as cli
from sporeprint.cli.terminal import ReaderGoneError
from sporeprint.common.locks import run_lock
from sporeprint.errors import (
    BusyError,
    ConfigError,
    DataError,
    RegistryError,
    SporeprintError,
    StorageError,
    UsageError,
)
from warm_start import Warm

PROGRAM = Path(sys.executable).with_name("sporeprint")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The real program, in a folder of its own; COLUMNS is set so that lines break where they always do.

    Where a test is about the start of Python or its end, `start` is `subprocess.run`.
    """

    def called(*arguments: str | Path, **given: Any) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "100", **given.pop("environment", {})}
        program: Run = given.pop("start", warm_start.run)
        return program([PROGRAM, *arguments], env=environment, text=True, **{"capture_output": True, "cwd": tmp_path, **given})

    return called


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The program in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


Called = Callable[..., tuple[int, str, str]]
Failing = Callable[[BaseException], None]

# --- help ----------------------------------------------------------------------------------------------------------------


def test_the_program_is_installed(run: Run) -> None:
    done = run("--version", start=subprocess.run)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sporeprint {__version__}\n", "")


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "sporeprint", "--version"], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stdout == f"sporeprint {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_page_with_what_it_does_and_options(command: list[str], called: Called) -> None:
    pages = {called(*command, flag)[1] for flag in ("-h", "--help")}
    assert len(pages) == 1
    page = pages.pop()
    assert page.startswith(f"Usage: sporeprint {' '.join(command)}".rstrip())
    assert "-h, --help" in page
    assert "\x1b" not in page
    if command not in ([], ["ab-test"], ["alerts"], ["config"], ["engine"], ["export"], ["keys"], ["models"]):
        assert "Common options:" in page
        assert f"Examples:\n  sporeprint {' '.join(command)}" in page


def test_every_command_is_tested_for_its_page() -> None:
    elsewhere = {"warehouse", "db"}  # with tests of their own
    names: set[tuple[str, ...]] = set()
    for name, node in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]  # a group's
        names |= {(name, inner) for inner in node.commands} if hasattr(node, "commands") else {(name,)}
    groups = {(), ("ab-test",), ("alerts",), ("config",), ("engine",), ("export",), ("keys",), ("models",)}
    pages = {tuple(command) for command in COMMANDS} - groups
    assert {name for name in names if name[0] not in elsewhere} == pages


def test_examples_on_the_pages_can_be_parsed() -> None:
    """An example with an option that does not exist is worse than none. (Arguments of pipes and redirections are cut off.)"""
    for command in COMMANDS:
        page = CliRunner().invoke(cli.app, [*command, "--help"], env={"COLUMNS": "200"}).output
        for line in page.partition("Examples:\n")[2].splitlines():
            example = re.split(r"\s{3,}|\s[|>]", line.strip())[0]
            if example.startswith("sporeprint"):  # the others are for another program, as curl
                _assert_parses(example)


@cache
def _command() -> Any:
    return typer.main.get_command(cli.app)


def _assert_parses(example: str) -> None:
    words = shlex.split(example)[1:]
    node = _command()
    while hasattr(node, "commands"):
        node = node.commands[words.pop(0)]
    node.make_context("sporeprint", words)


def test_help_loads_nothing_that_is_slow(run: Run, tmp_path: Path) -> None:
    script = (
        "import sys; from sporeprint.cli import app as cli; cli.run(sys.argv[1:]);"
        "slow = {'pydantic', 'rich', 'numpy', 'polars', 'pyarrow', 'sklearn', 'scipy', 'xgboost', 'matplotlib', 'onnx', 'ruamel', 'httpx'};"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    for command in ([], ["etl"], ["models", "list"]):
        done = subprocess.run([sys.executable, "-c", script, *command, "--help"], cwd=tmp_path, text=True, capture_output=True, check=True)
        assert done.stderr == "[]\n", command


@pytest.mark.parametrize("command", [[], ["models"], ["config"]], ids=" ".join)
def test_a_group_alone_shows_its_page_and_is_a_usage_error(command: list[str], called: Called) -> None:
    code, out, err = called(*command)
    assert code == 2
    assert out == ""
    assert "Usage: sporeprint" in err


def test_help_is_coloured_for_a_terminal_only(tmp_path: Path) -> None:
    def page(**environment: str) -> str:
        return _on_a_terminal([str(PROGRAM), "--help"], tmp_path, {"TERM": "xterm", **environment})

    assert "\x1b[1;36metl\x1b[0m" in page()
    assert "\x1b" not in page(NO_COLOR="1")
    assert "\x1b" not in page(TERM="dumb")


def _on_a_terminal(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a command writes when stdin, stdout and stderr are a terminal."""
    master, slave = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
    with Warm(command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env={**clean, **environment}) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            written += chunk
        process.wait(60)
    os.close(master)
    return written.decode()


# --- usage errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["etll"], "error: No such command 'etll'. Did you mean 'etl'?\nsporeprint --help lists the options\n"),
        (["predict"], "error: Missing argument 'FILE'.\nsporeprint predict --help lists the options\n"),
        (
            ["predict", "x.csv"],
            "error: Missing option '--out'. File to write, CSV or Parquet by its suffix. A name without one is a folder of part files.\n"
            "sporeprint predict --help lists the options\n",
        ),
        (["--json", "etl"], None),
        (["-q", "etl"], "error: -q stands after the command, as in: sporeprint etl -q\nsporeprint --help lists the options\n"),
        (
            ["simulate", "--out", "x.csv", "--rows", "5x"],
            "error: Invalid value for '--rows': '5x' is no whole number; write it as in 61069, 5k or 61M\n"
            "sporeprint simulate --help lists the options\n",
        ),
        (
            ["simulate", "--out", "x.csv", "--spoil", "some"],
            "error: Invalid value for '--spoil': 'some' is no number; write it as in 0.02\nsporeprint simulate --help lists the options\n",
        ),
    ],
)
def test_usage_errors_end_with_2_and_say_where_to_read_on(arguments: list[str], message: str | None, called: Called) -> None:
    code, out, err = called(*arguments)
    assert code == 2
    if message is None:
        assert json.loads(out)["error"]["message"].startswith("--json stands after the command, as in: sporeprint etl --json")
        assert err == ""
    else:
        assert (out, err) == ("", message)


def test_a_usage_error_of_the_program_has_the_same_code(run: Run) -> None:
    done = run("simulate", "--out", "table.txt", "--quiet")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot simulate to 'table.txt': the name must end in .csv or .parquet")
    assert done.stdout == ""


# --- errors and exit codes ---------------------------------------------------------------------------------------------------


def test_a_bad_configuration_ends_with_3(run: Run) -> None:
    done = run("config", "check", "--set", "split.sed=3")
    assert done.returncode == 3
    assert "split.sed: unknown key (did you mean 'seed'?)" in done.stderr
    assert done.stdout == ""


def test_with_json_an_error_is_on_stdout_and_stderr_stays_empty(run: Run) -> None:
    done = run("config", "check", "--config", "[red]mine.yaml", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {
        "error": {
            "type": "ConfigError",
            "message": "no configuration file at [red]mine.yaml; name one with --config",
            "retryable": False,
        }
    }
    assert done.stderr == ""


def test_text_in_an_error_is_no_markup_and_moves_no_cursor(run: Run) -> None:
    done = run("config", "check", "--config", "[red]a\x1b[2Jb.yaml")
    assert done.stderr == "error: no configuration file at [red]a\\x1b[2Jb.yaml; name one with --config\n"


def test_verbose_shows_where_an_error_comes_from(run: Run) -> None:
    done = run("config", "check", "--config", "nowhere.yaml", "-v")
    assert done.returncode == 3
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("error: no configuration file at nowhere.yaml; name one with --config\n")


def test_a_file_name_that_is_no_text_can_be_named(tmp_path: Path) -> None:
    done = subprocess.run([PROGRAM, "config", "check", "--config", b"caf\xe9.yaml"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 3
    assert done.stderr == b"error: no configuration file at caf\\udce9.yaml; name one with --config\n"


def test_a_full_disk_under_the_result_ends_with_6(run: Run) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = run("version", start=subprocess.run, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 6
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


def test_a_reader_who_left_is_answered_with_silence(run: Run) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = run("version", start=subprocess.run, stdout=pipe, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 141
    assert done.stderr == ""


def test_closed_streams_are_no_reason_to_fail(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", "-c", f"'{PROGRAM}' version >&- 2>&-"], cwd=tmp_path, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SporeprintError, 1),
        (UsageError, 2),
        (ConfigError, 3),
        (DataError, 4),
        (RegistryError, 5),
        (StorageError, 6),
        (PermissionError, 6),
        (BusyError, 75),
        (KeyboardInterrupt, 130),
        (ReaderGoneError, 141),
    ],
)
def test_exit_codes_by_type_of_error(error: type[BaseException], code: int, failing: Failing, called: Called) -> None:
    failing(error("it went wrong"))
    assert called("fail")[0] == code


@pytest.fixture
def failing() -> Any:
    """A real further command, that fails as it is told to; gone after the test."""
    from sporeprint.cli.command import OUTPUT, Session, command

    before = list(cli.app.registered_commands)

    def add(error: BaseException) -> None:
        @command(cli.app, OUTPUT)
        def fail(session: Session) -> Any:
            """Fail."""
            raise error

    yield add
    cli.app.registered_commands = before


def test_an_interrupt_is_one_line(failing: Failing, called: Called) -> None:
    failing(KeyboardInterrupt())
    assert called("fail") == (130, "", "error: interrupted; run the command again, no half-written file is left\n")
    _, out, _ = called("fail", "--json")
    assert json.loads(out)["error"] == {
        "type": "Interrupted",
        "message": "interrupted; run the command again, no half-written file is left",
        "retryable": True,
    }


UNEXPECTED = """
import sys
from sporeprint.cli import app as cli
from sporeprint.cli.command import OUTPUT, command
@command(cli.app, OUTPUT)
def fail(session):
    "Fail."
    raise {error}
cli.main()
"""


@pytest.mark.parametrize(
    ("error", "options", "shown"),
    [
        (
            "KeyError('[red]x')",
            [],
            "error: unexpected KeyError: '[red]x'\nThis is a fault in sporeprint",
        ),
        ("MemoryError", [], "error: not enough memory; a smaller runtime.most_rows needs less"),
    ],
)
def test_an_unexpected_error_is_short_and_ends_with_1(error: str, options: list[str], shown: str, tmp_path: Path) -> None:
    done = _python(UNEXPECTED.format(error=error), ["fail", *options], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(shown)
    assert "Traceback" not in done.stderr


def test_an_unexpected_error_shows_its_traceback_when_asked(tmp_path: Path) -> None:
    done = _python(UNEXPECTED.format(error="KeyError('x')"), ["fail", "--verbose"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("error: unexpected KeyError: 'x'\nThis is a fault in sporeprint, not in what you gave it.\n")


def test_an_unexpected_error_is_json_for_programs(tmp_path: Path) -> None:
    done = _python(UNEXPECTED.format(error="KeyError('x')"), ["fail", "--json"], tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["type"] == "KeyError"
    assert done.stderr == ""


def _python(script: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return warm_start.run([sys.executable, "-c", script, *arguments], cwd=folder, text=True, capture_output=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_and_leaves_nothing_half_written(number: int, code: int, tmp_path: Path) -> None:
    command = [str(PROGRAM), "simulate", "--rows", "200M", "--out", "big.csv"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if list(tmp_path.glob(".big.csv.*.tmp")):
                break
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


# --- configuration, simulation, version ------------------------------------------------------------------------------------


def test_a_good_configuration_is_told(called: Called, config_file: Path) -> None:
    code, out, err = called("config", "check")
    assert code == 0
    assert out.startswith(f"The configuration is good\nfile      {config_file}\ndataset   mushroom\n")
    assert err == ""


def test_what_config_check_shows_is_the_same_configuration(called: Called, tmp_path: Path, config_file: Path) -> None:
    code, out, _ = called("config", "check", "--show", "--set", "split.seed=11")
    assert code == 0
    (tmp_path / "shown.yaml").write_text(out, encoding="utf-8")
    again = sporeprint_settings.load_settings(tmp_path / "shown.yaml", environ={})
    assert again.split.seed == 11
    assert again == sporeprint_settings.load_settings(config_file, environ={}, overrides=["split.seed=11"])


def test_config_check_shows_no_secret(called: Called) -> None:
    address = "mysql+pymysql://reader:hunter2@db.example.org/spores"
    for options in ([], ["--json"]):
        code, out, _ = called("config", "check", "--show", "--set", f"source.path={address}", *options)
        assert code == 0
        assert "mysql+pymysql://reader:***@db.example.org/spores" in out
        assert "hunter2" not in out


def test_the_environment_can_name_configuration_and_work_directory(run: Run, config_file: Path, tmp_path: Path) -> None:
    raw = YAML(typ="safe", pure=True).load(config_file.read_text(encoding="utf-8"))
    raw["dataset"]["name"] = "beetles"
    (tmp_path / "config").mkdir()
    with (tmp_path / "config" / "config.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(raw, file)
    (tmp_path / "other.yaml").write_bytes(config_file.read_bytes())
    assert json.loads(run("config", "check", "--json", "--show").stdout)["settings"]["dataset"]["name"] == "beetles"
    named = run("config", "check", "--json", environment={"SPOREPRINT_CONFIG": "other.yaml"})
    assert json.loads(named.stdout)["config"] == "other.yaml"
    (tmp_path / "empty").mkdir()
    elsewhere = run("config", "check", "--json", environment={"SPOREPRINT_WORKDIR": str(tmp_path)}, cwd=tmp_path / "empty")
    assert json.loads(elsewhere.stdout)["config"] == str(tmp_path / "config" / "config.yaml")


def test_simulate_writes_what_was_asked_for(called: Called, tmp_path: Path) -> None:
    code, out, err = called(
        "simulate", "--rows", "2k", "--species", "20", "--out", "s.csv", "--names", "names.csv", "--spoil", "0.1",
        "--spoil-kinds", "negative,nan", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["rows"], found["groups"], found["simulated"]) == (2000, 20, True)
    assert len(pl.read_csv(tmp_path / "s.csv", separator=";", infer_schema=False)) == 2000
    assert len(pl.read_csv(tmp_path / "names.csv", separator=";", infer_schema=False)) == 20
    ledger = pl.read_csv(found["ledger"], infer_schema=False)
    assert set(ledger["kind"]) == {"negative", "nan"}
    assert len(ledger) == found["spoilt"]


def test_simulate_drifts_where_it_is_told_to(called: Called, tmp_path: Path) -> None:
    common = ("simulate", "--rows", "500", "--species", "5", "--quiet")
    assert called(*common, "--out", "a.csv")[0] == 0
    assert called(*common, "--out", "b.csv", "--drift-missing", "1", "--drift-columns", "cap-shape, season")[0] == 0
    before, after = (pl.read_csv(tmp_path / name, separator=";", infer_schema=False) for name in ("a.csv", "b.csv"))
    assert after["cap-shape"].null_count() == after["season"].null_count() == 500
    assert after.drop("cap-shape", "season").equals(before.drop("cap-shape", "season"))


def test_without_a_terminal_progress_is_a_line_on_stderr(run: Run) -> None:
    done = run("simulate", "--rows", "100", "--species", "5", "--out", "s.csv")
    assert re.fullmatch(r"simulate \.\.\. done \d\.\d\d s\n", done.stderr)
    assert done.stdout.startswith("Simulated: invented data\npath     s.csv\n")
    assert "\x1b" not in done.stdout + done.stderr


def test_on_a_terminal_progress_is_a_bar_that_leaves_a_line(tmp_path: Path) -> None:
    command = [str(PROGRAM), "simulate", "--rows", "100", "--species", "5", "--out", "s.csv"]
    shown = _on_a_terminal(command, tmp_path, {"TERM": "xterm", "COLUMNS": "100"})
    assert re.search(r"✓\S* simulate       \S*\d\.\d\d s", shown)
    assert "Simulated: invented data" in shown
    quiet = _on_a_terminal([*command, "--quiet"], tmp_path, {"TERM": "xterm", "COLUMNS": "100"})
    assert "✓" not in quiet
    assert "Simulated: invented data" in quiet


def test_versions_are_told(called: Called) -> None:
    code, out, _ = called("version", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["sporeprint"] == __version__
    assert found["libraries"]["polars"] == pl.__version__


# --- the pipeline, on a small simulated table --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, config_file: Path) -> Path:
    """A folder with a table of 2,000 rows of 20 species, and a configuration that makes short work of it."""
    folder = tmp_path_factory.mktemp("small")
    raw = YAML(typ="safe", pure=True).load(config_file.read_text(encoding="utf-8"))
    raw["dataset"]["groups"] = {"name": "species", "block_rows": 100}
    raw["source"] = {"path": "data/raw/table.csv"}
    raw["models"] = {name: raw["models"][name] for name in ("decision_tree", "xgboost")}
    raw["models"]["xgboost"] |= {"rounds": 20, "early_stopping_rounds": 5}
    raw["evaluation"] = {"folds": 2, "replicates": 100}
    raw["runtime"] |= {"threads": 1}
    (folder / "config").mkdir()
    with (folder / "config" / "config.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(raw, file)
    table = folder / "data" / "raw" / "table.csv"
    subprocess.run([PROGRAM, "simulate", "--rows", "2k", "--species", "20", "--out", table, "--quiet"], check=True)
    # Only what makes a table simulated is its mark: without it, it is like any other.
    (folder / "data" / "raw" / "table.csv.simulated.json").unlink()
    return folder


@pytest.fixture(scope="session")
def whole_run(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("trained") / "work"
    shutil.copytree(small, folder)
    return folder, subprocess.run([PROGRAM, "etl", "--json"], cwd=folder, text=True, capture_output=True, check=False)


@pytest.fixture
def trained(whole_run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    """A work directory after `etl`, free to be changed."""
    return Path(shutil.copytree(whole_run[0], tmp_path / "trained"))


@pytest.fixture
def fresh(small: Path, tmp_path: Path) -> Path:
    """A work directory before anything has run."""
    return Path(shutil.copytree(small, tmp_path / "fresh"))


def test_etl_goes_from_the_table_to_a_model_in_production(whole_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = whole_run
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["simulated"] is False
    assert found["data"]["rows"] == 2000
    assert found["production"] in {"decision_tree/v1", "xgboost/v1"}
    assert (folder / found["report"]).exists()
    for path in ("data/processed/mushroom.parquet", "models/metrics/metrics.json", "models/xgboost.joblib"):
        assert (folder / path).exists()


def test_etl_shows_its_steps_and_what_it_found(run: Run, fresh: Path) -> None:
    done = run("etl", "--workdir", fresh)
    assert done.returncode == 0
    assert [line.split(" ... ")[0] for line in done.stderr.splitlines()][:4] == ["extract", "transform", "load", "train"]
    assert all(re.fullmatch(r"[a-z-]+ \.\.\. done [\d.]+ s", line) for line in done.stderr.splitlines())
    assert "\x1b" not in done.stdout + done.stderr
    for text in ("2,000", "xgboost", "report.html"):
        assert text in done.stdout


def test_a_step_on_a_terminal_ends_with_its_table(fresh: Path) -> None:
    shown = _on_a_terminal([str(PROGRAM), "extract"], fresh, {"TERM": "xterm", "COLUMNS": "100"})
    assert re.search(r"✓\S* extract        \S*\d\.\d\d s", shown)
    assert "Raw table" in shown


def test_the_steps_can_be_taken_one_at_a_time(called: Called, fresh: Path) -> None:
    for step in ("extract", "validate", "transform", "load", "train", "evaluate", "register"):
        code, out, err = called(step, "--workdir", fresh, "--json")
        assert (code, err) == (0, ""), step
        assert json.loads(out), step
    assert json.loads(called("models", "list", "--workdir", fresh, "--json")[1])["production"] in {"decision_tree/v1", "xgboost/v1"}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("transform", "nothing has been extracted in .*run sporeprint extract first"),
        ("load", "nothing is staged in .*run sporeprint transform first"),
        ("train", "no data has been loaded in .*run sporeprint load first"),
    ],
)
def test_a_step_too_early_names_the_one_before(step: str, said: str, called: Called, fresh: Path) -> None:
    code, out, err = called(step, "--workdir", fresh, "--quiet")
    assert (code, out) == (4, "")
    assert re.match(f"error: {said}", err)


def test_a_source_is_meant_from_here_not_from_the_work_directory(called: Called, fresh: Path, tmp_path: Path) -> None:
    shutil.copy(fresh / "data/raw/table.csv", tmp_path / "[red]mine.csv")
    code, out, _ = called("extract", "--source", "[red]mine.csv", "--workdir", fresh, "--json")
    assert code == 0
    assert json.loads(out)["source"] == "[red]mine.csv"


def test_a_source_that_is_not_there_ends_with_4(called: Called, fresh: Path) -> None:
    code, out, err = called("etl", "--source", "[red]nowhere.csv", "--workdir", fresh, "--quiet")
    assert (code, out) == (4, "")
    assert err == "error: no such file: [red]nowhere.csv; name a table with --source FILE or --source URL\n"


def test_a_run_beside_another_ends_with_75(called: Called, fresh: Path) -> None:
    with run_lock(fresh):
        code, out, err = called("extract", "--workdir", fresh, "--json")
    assert (code, err) == (75, "")
    assert json.loads(out)["error"]["type"] == "BusyError"
    assert json.loads(out)["error"]["retryable"] is True


def test_training_can_be_for_some_models_only(called: Called, trained: Path) -> None:
    code, out, _ = called("train", "--workdir", trained, "--model", "decision_tree", "--json")
    assert code == 0
    assert list(json.loads(out)["models"]) == ["decision_tree"]
    code, out, err = called("train", "--workdir", trained, "--model", "decision_treee", "--quiet")
    assert (code, out) == (3, "")
    assert "no model 'decision_treee' in the configuration (did you mean 'decision_tree'?)" in err


def test_a_new_version_is_registered_and_not_promoted(called: Called, trained: Path) -> None:
    change = ("--set", "models.decision_tree.params.min_samples_leaf=60")
    code, out, _ = called("train", "--workdir", trained, "--new-version", "--model", "decision_tree", *change, "--json")
    assert code == 0
    assert [version["ref"] for version in json.loads(out)["versions"]] == ["decision_tree/v2"]
    listed = json.loads(called("models", "list", "--workdir", trained, "--json")[1])
    tree = next(model for model in listed["models"] if model["name"] == "decision_tree")
    assert tree["champion"] == "decision_tree/v1"
    assert [version["ref"] for version in tree["versions"]] == ["decision_tree/v1", "decision_tree/v2"]


def test_a_worse_version_does_not_pass_the_gate(called: Called, trained: Path) -> None:
    change = ("--set", "models.xgboost.params.max_depth=1", "--set", "models.xgboost.rounds=1")
    assert called("train", "--workdir", trained, "--new-version", "--model", "xgboost", *change, "--quiet")[0] == 0
    code, out, err = called("models", "promote", "xgboost/v2", "--workdir", trained, "--quiet")
    assert (code, out) == (5, "")
    assert err.startswith("error: xgboost/v2 does not pass the gate: accuracy -0.")
    assert json.loads(called("models", "list", "--workdir", trained, "--json")[1])["models"][1]["champion"] == "xgboost/v1"


def test_promote_moves_production_only_when_it_is_told_to(called: Called, trained: Path) -> None:
    served = json.loads(called("models", "list", "--workdir", trained, "--json")[1])["production"]
    other = ({"decision_tree/v1", "xgboost/v1"} - {served}).pop()
    code, out, _ = called("models", "promote", other, "--workdir", trained, "--json")
    assert code == 0
    assert json.loads(out)["production"] == served


# --- predict -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predict_writes_the_columns_then_the_answers(suffix: str, called: Called, trained: Path, tmp_path: Path) -> None:
    table = pl.read_csv(trained / "data/raw/table.csv", separator=";", infer_schema=False).head(50).drop("class")
    table.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("17.wrz")).otherwise("stem-width").alias("stem-width")).write_csv(
        tmp_path / "new.csv", separator=";"
    )
    out = f"answers{suffix}"
    code, said, err = called("predict", "new.csv", "--out", out, "--model", "decision_tree", "--workdir", trained, "--json")
    assert (code, err) == (0, "")
    answers = pl.read_csv(tmp_path / out) if suffix == ".csv" else pl.read_parquet(tmp_path / out)
    assert len(answers) == 50
    assert set(answers["prediction"].drop_nulls()) <= {"e", "p"}
    assert answers["prediction"].null_count() == 1
    assert "stem-width" in answers["reason"][3]
    assert json.loads(said)["model"] == "decision_tree/v1"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.csv", "--out", "a.csv"], 4, "no such file: nowhere.csv"),
        (["mysql://me:secret@host/db", "--out", "a.csv"], 4, "mysql:// is nothing that rows are read from here"),
        (["new.csv", "--out", "a.txt"], 2, "--out a.txt: expected a file name that ends in .csv or .parquet"),
        (["new.csv", "--out", "new.csv"], 2, "--out new.csv is the file to score itself; name another one"),
        (["new.csv", "--out", "a.csv", "--model", "xgbost"], 5, "no model 'xgbost'"),
        (["new.csv", "--out", "a.csv", "--model", "xgboost/v9"], 5, "xgboost"),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    arguments: list[str], code: int, said: str, called: Called, trained: Path, tmp_path: Path
) -> None:
    shutil.copy(trained / "data/raw/table.csv", tmp_path / "new.csv")
    ended, out, err = called("predict", *arguments, "--workdir", trained, "--quiet")
    assert (ended, out) == (code, "")
    assert err.startswith("error: ")
    assert said in err
    assert not (tmp_path / "a.csv").exists()

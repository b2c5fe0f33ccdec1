"""What all tests share: the shipped configuration, the real table where it is, and an environment without settings."""

import copy
import fcntl
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from ruamel.yaml import YAML
from sqlalchemy import URL, Engine

import mariadb_server
import warm_start
from shared_folder import made_once
from sporeprint import settings
from sporeprint.common.files import sha256_file

if TYPE_CHECKING:
    from s3_server import S3Server

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT / "data" / "raw" / "secondary_data.csv"
# As the command line does, before anything loads OpenMP: tests share the machine with the processes they start.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# A million objects of tests and libraries stay: looking through them for garbage as often as Python does takes a twentieth of the time.
gc.set_threshold(5_000, 20, 100)
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
CLIENTS = ROOT / ".venv-clients" / "bin" / "python"
CLUSTER = ROOT / ".venv-cluster" / "bin" / "python"
#: Loaded into a process, it makes its clock say what a file says.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
#: A browser, by the names that distributions give it.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: What some tests need and not every machine has: fixture -> whether it is here, the variable that requires it, what to say.
NEEDS: dict[str, tuple[Callable[[], bool], str, str]] = {
    "real_data": (REAL_DATA.exists, "REQUIRE_REAL_DATA", f"tests on the real table were left out: {REAL_DATA} is missing"),
    "mariadb": (
        lambda: bool(mariadb_server.MARIADBD and mariadb_server.INSTALL),
        "REQUIRE_SERVICES",
        "tests on a real MariaDB were left out: no mariadbd here (on Debian and Ubuntu: apt install mariadb-server)",
    ),
    "faketime": (
        lambda: FAKETIME is not None,
        "REQUIRE_SERVICES",
        "tests with a clock that jumps were left out: no libfaketime here (on Debian and Ubuntu: apt install faketime)",
    ),
    "strace": (
        lambda: shutil.which("strace") is not None,
        "REQUIRE_SERVICES",
        "tests that look at system calls were left out: no strace here (on Debian and Ubuntu: apt install strace)",
    ),
    "prometheus": (
        lambda: shutil.which("prometheus") is not None,
        "REQUIRE_SERVICES",
        "tests with a real Prometheus were left out: no prometheus here (on Debian and Ubuntu: apt install prometheus)",
    ),
    "chromium": (
        lambda: CHROMIUM is not None,
        "REQUIRE_SERVICES",
        "tests with a real browser were left out: no chromium here (on Debian and Ubuntu: apt install chromium)",
    ),
    "airflow": (
        AIRFLOW.exists,
        "REQUIRE_AIRFLOW",
        "tests in a real Airflow were left out: no .venv-airflow (scripts/airflow_dev.sh --setup)",
    ),
    "clients": (
        CLIENTS.exists,
        "REQUIRE_CLIENTS",
        "tests with MLflow and the clients of KServe and Triton were left out: no .venv-clients (scripts/clients_dev.sh --setup)",
    ),
    "cluster": (
        CLUSTER.exists,
        "REQUIRE_CLUSTER",
        "tests with Spark and an object store were left out: no .venv-cluster (scripts/cluster_dev.sh --setup)",
    ),
}
#: Files and folders whose tests take longest: they begin.
FIRST = (
    *("tests/project/test_dags", "tests/project/test_tour", "tests/project/test_notebook", "tests/common/test_spark_engine"),
    *("tests/model_serving/ui/test_every_page_browser", "tests/storage/oltp/test_migrate", "tests/project/", "tests/model_serving/"),
    *("tests/pipelines/", "tests/cli/", "tests/registry/", "tests/inference/", "tests/client/", "tests/storage/", "tests/ingestion/"),
)
LEFT_OUT = pytest.StashKey[dict[str, int]]()

# A busy machine is slow, which is no fault of what is tested; and a change must not fail in CI by chance.
hypothesis.settings.register_profile("sporeprint", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("sporeprint")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs something that is not here, unless it is required: then the fixture fails them.

    What takes longest goes first, so that no process works alone at the end.
    """
    items.sort(key=lambda item: next((place for place, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST)))
    config.stash[LEFT_OUT] = {}
    for fixture, (is_here, variable, _) in NEEDS.items():
        if os.environ.get(variable) == "1" or is_here():
            continue
        needing = [item for item in items if _needs(item, fixture)]
        config.stash[LEFT_OUT][fixture] = len(needing)
        if needing:
            config.hook.pytest_deselected(items=needing)
            items[:] = [item for item in items if item not in needing]


def _needs(item: pytest.Item, fixture: str) -> bool:
    """Whether a test asks for a fixture, by its arguments or by a parameter of that name (an engine among others)."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    names = getattr(item, "fixturenames", ())
    return fixture in names or f"_{fixture}" in names or fixture in [value for value in parameters.values() if isinstance(value, str)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests were left out: a run without them is not a run of everything."""
    left_out = {fixture: count for fixture, count in config.stash.get(LEFT_OUT, {}).items() if count}
    if left_out:
        terminalreporter.section("left out", yellow=True)
    for fixture, count in left_out.items():
        terminalreporter.line(f"{count} {NEEDS[fixture][2]}")


def _here(fixture: str) -> None:
    is_here, variable, said = NEEDS[fixture]
    requirements = ROOT / "scripts" / f"{fixture}-requirements.txt"
    if requirements.exists():  # ./run_tests.sh sets it up beside the first tests, and holds this file's lock meanwhile
        with requirements.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    if not is_here():
        pytest.fail(f"{said.partition(': ')[2]}, and {variable}=1 asks for it", pytrace=False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real table, data/raw/secondary_data.csv."""
    _here("real_data")
    return REAL_DATA


@pytest.fixture(scope="session")
def strace() -> str:
    """The program that shows the system calls of another."""
    _here("strace")
    return "strace"


@pytest.fixture(scope="session")
def prometheus() -> str:
    """The program of Prometheus; `promtool` is beside it."""
    _here("prometheus")
    return "prometheus"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program of a Chromium."""
    _here("chromium")
    return str(CHROMIUM)


@pytest.fixture(scope="session")
def clients() -> Path:
    """The Python of an environment with MLflow and the clients of KServe and Triton."""
    _here("clients")
    return CLIENTS


@pytest.fixture(scope="session")
def cluster() -> Path:
    """The Python of an environment with Spark and an S3 server."""
    _here("cluster")
    return CLUSTER


@pytest.fixture(scope="session")
def airflow() -> Path:
    """The program of an Airflow in an environment of its own."""
    _here("airflow")
    return AIRFLOW


@pytest.fixture
def faketime(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file that says what time it is, as in "+3d", and the environment of a process that believes it."""
    _here("faketime")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    asks = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return clock, {"LD_PRELOAD": str(FAKETIME), **asks}


@pytest.fixture(scope="session")
def _mariadb() -> Iterator[mariadb_server.MariaDB]:
    _here("mariadb")
    # Not in pytest's folders: a socket's path must be short, and nobody wants the data of the last three runs.
    with tempfile.TemporaryDirectory(prefix="mariadb-") as folder, mariadb_server.MariaDB(Path(folder)) as server:
        yield server


@pytest.fixture
def mariadb(_mariadb: mariadb_server.MariaDB) -> Iterator[mariadb_server.MariaDB]:
    """A real MariaDB, one for all tests; a test that stops or kills it finds it running again in the next."""
    yield _mariadb
    if not _mariadb.running:
        _mariadb.start()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A variable of the person who runs the tests must not change what they say."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SPOREPRINT_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _programs_start_warm() -> None:
    """Where many tests run, what they start is a fork of a program that has loaded its libraries; it loads while the first ones run."""
    if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "pidfd_open"):
        warm_start.begin()


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command sets up the log of its process; other tests listen to it."""
    logger = logging.getLogger("sporeprint")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(params=["sqlite", "mariadb"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The address of an empty database, of each kind in turn; its account owns it."""
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "sporeprint.db"))
    server: mariadb_server.MariaDB = request.getfixturevalue("mariadb")
    return server.url(database=server.create_database())


@pytest.fixture
def empty(empty_url: URL) -> Iterator[Engine]:
    """An engine on it."""
    from sporeprint.storage.engine import connect

    engine = connect(empty_url)
    yield engine
    engine.dispose()


@pytest.fixture
def oltp(tmp_path: Path) -> Iterator[Engine]:
    """An empty OLTP database with its tables, embedded."""
    from warehouse_support import database  # loads storage and warehouse, which most tests do not need

    engine = database(URL.create("sqlite", database=str(tmp_path / "oltp.db")))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def object_store(cluster: Path) -> Iterator["S3Server"]:
    """A real S3 server with an empty bucket, named by the environment."""
    from s3_server import s3_server  # loads Arrow's file systems, which most tests do not need

    with s3_server(cluster) as server:
        yield server


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def config_file() -> Path:
    """The configuration that comes with the project."""
    return ROOT / "config" / "config.yaml"


@pytest.fixture(scope="session")
def _shipped(config_file: Path) -> dict[str, Any]:
    raw: dict[str, Any] = YAML(typ="safe", pure=True).load(config_file.read_text(encoding="utf-8"))
    return raw


@pytest.fixture
def raw_config(_shipped: dict[str, Any]) -> dict[str, Any]:
    """The shipped configuration as it is read, unchecked, free to be changed."""
    return copy.deepcopy(_shipped)


# --- runs that many tests look at ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _small(_shipped: dict[str, Any]) -> dict[str, Any]:
    raw = copy.deepcopy(_shipped)
    raw["dataset"]["groups"] = {"name": "species", "block_rows": 60}
    raw["source"] = {"path": "data/raw/table.csv", "fallback": "fail"}
    raw["models"]["xgboost"] |= {"rounds": 20, "early_stopping_rounds": 5}
    raw["evaluation"] = {"folds": 3, "replicates": 100}
    raw["runtime"] |= {"threads": 1}
    return raw


@pytest.fixture
def small_config(_small: dict[str, Any]) -> dict[str, Any]:
    """A configuration that makes short work of `small_table`, unchecked, free to be changed. No network, no names."""
    return copy.deepcopy(_small)


@pytest.fixture(scope="session")
def small_table(_small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,800 invented rows of 30 species, in blocks of 60. Not marked as simulated: without the mark it is like any other."""
    from sporeprint.simulation.generator import simulate_table

    def make(folder: Path) -> None:
        simulate_table(settings.parse(_small).dataset, folder / "table.csv", rows=1800, groups=30, seed=3).sidecar.unlink()

    return made_once(tmp_path_factory, "small_table", make) / "table.csv"


@pytest.fixture(scope="session")
def _small_run(_small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        from sporeprint.pipelines.etl import run_etl  # loads every library there is, which most tests do not need

        run_etl(settings.parse(_small), folder / "work", source=str(small_table))
        # Commands that only read the shared run are written down in its database, too.
        shutil.copy(folder / "work/data/sporeprint.db", folder / "sporeprint.db")

    return made_once(tmp_path_factory, "small_run", make) / "work"


@pytest.fixture(scope="session")
def small_run(_small_run: Path) -> Path:
    """The work directory of one whole run over `small_table`. Only to be looked at: it is everybody's."""
    return _small_run


@pytest.fixture
def small_copy(_small_run: Path, tmp_path: Path) -> Path:
    """A copy of `small_run` as it was when it ended, free to be changed."""
    copy = Path(shutil.copytree(_small_run, tmp_path / "work", ignore=shutil.ignore_patterns("sporeprint.db*")))
    shutil.copy(_small_run.parent / "sporeprint.db", copy / "data")
    return copy


@pytest.fixture(scope="session")
def real_run(real_data: Path, config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of one whole run over the real table, with the shipped configuration. Only to be looked at."""

    def make(folder: Path) -> None:
        from sporeprint.pipelines.etl import run_etl

        # One thread: threads that wait for each other in turns take a hundred times as long where others need the processor.
        run_etl(settings.load_settings(config_file, environ={}, overrides=["runtime.threads=1"]), folder / "work", source=str(real_data))

    return made_once(tmp_path_factory, "real_run", make) / "work"


@pytest.fixture
def published() -> Callable[[Path], dict[str, str]]:
    """A function from a work directory to the sha256 of every file a reader sees there.

    Left out are what says of a run that it was there: logs, the lock, the note of the last extract, what was rejected, and both
    databases, which keep the metrics of every run.
    """

    def look(root: Path) -> dict[str, str]:
        found = (path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file())
        own = ("logs/", "data/raw/", "data/warehouse/", "data/sporeprint.db", "data/validation/rejected/", ".sporeprint.lock")
        return {name: sha256_file(root / name) for name in found if not name.startswith(own)}

    return look

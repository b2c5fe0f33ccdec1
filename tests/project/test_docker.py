"""Tests of docker/: the compose file is well formed, and its settings and accounts hold on real servers."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from ruamel.yaml import YAML
from sqlalchemy import URL, Engine, create_engine, delete, exc, insert, select, text, update

from mariadb_server import MariaDB
from sporeprint.cli import app as cli
from sporeprint.errors import ConfigError
from sporeprint.model_serving.http.authentication import bootstrap_key
from sporeprint.settings import StorageSettings
from sporeprint.storage import prediction_record, urls
from sporeprint.storage.engine import connect
from sporeprint.storage.journal import shipper
from sporeprint.storage.oltp import migrate, tables

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = DOCKER / "docker-compose.yml"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
#: What needs quoting in SQL and in a shell.
PASSWORDS = {
    "MARIADB_ROOT_PASSWORD": "root `id` $HOME",
    "OLTP_OWNER_PASSWORD": 'owner\'s \\ "password"',
    "OLTP_API_PASSWORD": "api:p@ss/w#rd?%41",
    "OLTP_REPORT_PASSWORD": "report",
    "OLAP_LOADER_PASSWORD": "loader",
    "OLAP_REPORT_PASSWORD": "report too",
}


# --- the file -------------------------------------------------------------------------------------------------------------


class Part(BaseModel):
    """A part of a compose file. Keys that the Compose Specification has, and this file does not use, are refused too."""

    model_config = ConfigDict(extra="forbid")


Duration = Annotated[str, StringConstraints(pattern="^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", min_length=2)]
Port = Annotated[str, StringConstraints(pattern=r"^127\.0\.0\.1:[0-9]+:[0-9]+$")]
Mount = Annotated[str, StringConstraints(pattern="^[^:]+:/[^:]+(:ro)?$")]


class Healthcheck(Part):
    test: list[str]
    interval: Duration
    timeout: Duration
    retries: int = Field(ge=1)
    start_period: Duration


class Dependency(Part):
    condition: Literal["service_healthy"]


class Build(Part):
    context: str
    dockerfile: str
    target: Literal["api", "full"]


class Service(Part):
    image: str
    build: Build | None = None
    restart: Literal["unless-stopped"] | None = None
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    environment: dict[str, str] = {}
    ports: list[Port] = []
    volumes: list[Mount] = []
    healthcheck: Healthcheck | None = None
    stop_grace_period: Duration | None = None
    depends_on: dict[str, Dependency] = {}
    profiles: list[str] = []
    read_only: bool = False
    tmpfs: list[str] = []
    cap_drop: list[Literal["ALL"]] = []
    security_opt: list[Literal["no-new-privileges:true"]] = []
    secrets: list[str | dict[str, str]] = []


class Secret(Part):
    file: str


class Compose(Part):
    name: str
    services: dict[str, Service]
    secrets: dict[str, Secret]
    volumes: dict[str, None]


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The compose file, its anchors resolved and its extensions left out."""
    raw = YAML(typ="safe", pure=True).load(COMPOSE.read_text(encoding="utf-8"))
    return Compose.model_validate({key: value for key, value in raw.items() if not key.startswith("x-")})


def test_ports_and_profiles(compose: Compose) -> None:
    assert {name: service.ports for name, service in compose.services.items() if service.ports} == {
        "oltp": ["127.0.0.1:3307:3306"],
        "olap": ["127.0.0.1:3308:3306"],
        "adminer": ["127.0.0.1:8081:8080"],
        "api": ["127.0.0.1:8000:8000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert {name for name, service in compose.services.items() if not service.profiles} == {"oltp", "olap", "adminer"}
    assert {service.profiles[0] for service in compose.services.values() if service.profiles} == {"app", "observe"}


def test_databases_are_checked_kept_and_waited_for(compose: Compose) -> None:
    for name in ("oltp", "olap"):
        service = compose.services[name]
        assert service.healthcheck is not None
        assert f"{name}:/var/lib/mysql" in service.volumes
    assert all(compose.services[name].healthcheck for service in compose.services.values() for name in service.depends_on)


def test_volumes_and_mounts_are_there(compose: Compose) -> None:
    sources = [mount.split(":")[0] for service in compose.services.values() for mount in service.volumes]
    assert {source for source in sources if not source.startswith(".")} == set(compose.volumes)
    files = {source for source in sources if source.startswith(".")} | {"Dockerfile"}
    assert [file for file in files if not (DOCKER / file).exists()] == []


def test_what_is_ours_is_closed(compose: Compose) -> None:
    ours = {name: service for name, service in compose.services.items() if service.build is not None}
    assert set(ours) == {"upgrade", "sync", "etl", "api", "monitor"}
    for service in (*ours.values(), compose.services["adminer"]):
        assert (service.read_only, service.tmpfs) == (True, ["/tmp"])
        assert (service.cap_drop, service.security_opt) == (["ALL"], ["no-new-privileges:true"])
    assert {name for name, service in ours.items() if service.build and service.build.target == "api"} == {"api"}
    assert all(re.search(rf"^FROM .* AS {service.build.target}$", DOCKERFILE, re.MULTILINE) for service in ours.values() if service.build)


def test_secrets_are_given_and_named(compose: Compose) -> None:
    for service in compose.services.values():
        files = {value for name, value in service.environment.items() if name.endswith("_FILE")}
        assert files == {f"/run/secrets/{name}" for name in service.secrets if isinstance(name, str)}
    given = [name if isinstance(name, str) else name["source"] for service in compose.services.values() for name in service.secrets]
    assert set(given) == set(compose.secrets)
    # Compose cannot give a read-only service a secret that is no file, and a file that git has is no secret.
    ignored = (Path(__file__).resolve().parents[2] / ".gitignore").read_text(encoding="utf-8").splitlines()
    for secret in compose.secrets.values():
        assert f"/docker/{secret.file.removeprefix('./').rpartition('/')[0]}/" in ignored


def test_every_password_comes_from_the_environment_and_is_required(compose: Compose) -> None:
    given = {
        name: value
        for service in compose.services.values()
        for name, value in service.environment.items()
        if ("PASSWORD" in name or "SECRET" in name) and not name.endswith("_FILE")
    }
    assert given
    assert [name for name, value in given.items() if not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value)] == []


def example() -> dict[str, str]:
    lines = (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_example_names_every_variable_and_no_other() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    assert set(example()) == set(re.findall(r"\$\{([A-Z_]+)", text))


@pytest.mark.parametrize("name", sorted(name for name in example() if name.endswith("_PASSWORD")))
def test_placeholders_are_refused_by_sporeprint(name: str, tmp_path: Path) -> None:
    environ = {"SPOREPRINT_OLTP_URL": "mysql+pymysql://u@h/d", "SPOREPRINT_OLTP_PASSWORD": example()[name]}
    with pytest.raises(ConfigError, match="SPOREPRINT_OLTP_PASSWORD: the password is the placeholder"):
        urls.oltp(StorageSettings(), tmp_path, environ)


def test_the_placeholder_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("change-me-bootstrap-key", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected at least 32"):
        bootstrap_key({"SPOREPRINT_BOOTSTRAP_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize("given", ["change-me-oltp-root", "CHANGE-ME", ""])
def test_placeholders_are_refused_before_a_database_is_made(given: str) -> None:
    done = start({"OLTP_ROOT_PASSWORD": given, "OLTP_API_PASSWORD": "good"})
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("error: placeholder or no password in OLTP_ROOT_PASSWORD; set one of your own")


def test_good_passwords_start_it() -> None:
    assert start({"OLTP_ROOT_PASSWORD": "good"}).stdout == "started\n"


def start(environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(DOCKER / "mariadb/start.sh"), "echo", "started"]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


# --- the images ----------------------------------------------------------------------------------------------------------


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_looks(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("slim-bookworm", "latest") + "\nRUN cd /tmp && apt-get install x\n")
    done = subprocess.run([Path(sys.executable).parent / "hadolint", tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 1


def test_the_images_that_run_have_what_they_need_and_no_right() -> None:
    stages = {stage.split("\n", 1)[0]: stage for stage in re.split(r"^FROM .* AS ", DOCKERFILE, flags=re.MULTILINE)[1:]}
    assert list(stages) == ["build", "build-api", "build-full", "base", "api", "full"]
    assert "USER 10001:10001" in stages["base"]
    for name in ("base", "api", "full"):
        assert "pip" not in stages[name]
    assert "HEALTHCHECK" in stages["api"]
    # Everything that is copied from outside is let through by .dockerignore.
    wanted = {each for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for each in line.split()}
    let = {line[1:] for line in (DOCKER.parent / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert {each for each in wanted if not any(each == path or each.startswith(f"{path}/") for path in let)} == set()
    assert all((DOCKER.parent / each).exists() for each in wanted)


# --- on real servers ------------------------------------------------------------------------------------------------------


def server_settings(name: str) -> dict[str, str]:
    parser = ConfigParser(comment_prefixes="#")
    parser.read(DOCKER / f"mariadb/{name}.cnf", encoding="utf-8")
    return dict(parser["mariadbd"])


class Deployed:
    """A server with the settings and the accounts of the compose file."""

    def __init__(self, name: str, server: MariaDB) -> None:
        self.server, self.script = server, DOCKER / f"mariadb/{name}-accounts.sh"
        self.server.execute("CREATE DATABASE sporeprint", f"ALTER USER root@localhost IDENTIFIED BY '{PASSWORDS['MARIADB_ROOT_PASSWORD']}'")
        # What the image does by its defaults: the client finds the server.
        (server.folder / ".my.cnf").write_text(f"[client]\nsocket = {server.folder / 'socket'}\n")
        self.make_accounts()

    def make_accounts(self) -> None:
        environ = {**os.environ, **PASSWORDS, "MARIADB_DATABASE": "sporeprint", "HOME": str(self.server.folder)}
        done = subprocess.run(["bash", self.script], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def url(self, user: str, password: str) -> URL:
        return self.server.url(user, "sporeprint", password=PASSWORDS[password])


@pytest.fixture(scope="module")
def deployed(_mariadb: MariaDB) -> Iterator[dict[str, Deployed]]:
    """Both servers. All as deployed, but for the memory: the machine of a test has less of it."""
    servers = {}
    with contextlib.ExitStack() as stack:
        for name in ("oltp", "olap"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mariadb-")))
            settings = {**server_settings(name), "innodb-buffer-pool-size": "64M", "innodb-log-file-size": "32M"}
            servers[name] = Deployed(name, stack.enter_context(MariaDB(folder, settings)))
        owner = create_engine(servers["oltp"].url("sporeprint_owner", "OLTP_OWNER_PASSWORD"))
        migrate.upgrade(owner)
        owner.dispose()
        yield servers


@pytest.mark.parametrize("name", ["oltp", "olap"])
def test_the_server_takes_its_settings(deployed: dict[str, Deployed], name: str) -> None:
    found = {str(key): str(value) for key, value in deployed[name].server.execute("SHOW GLOBAL VARIABLES")}
    assert found["innodb_flush_log_at_trx_commit"] == "1"
    assert found["collation_server"] == "utf8mb4_nopad_bin"
    assert found["tx_isolation"] == "READ-COMMITTED"
    assert found["sql_mode"].startswith("STRICT_ALL_TABLES")
    assert found["max_allowed_packet"] == str(64 << 20)


@pytest.fixture
def oltp(deployed: dict[str, Deployed], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The OLTP database, as the account that the test's parameter names."""
    user: str = request.param
    made = connect(deployed["oltp"].url(f"sporeprint_{user}", f"OLTP_{user.upper()}_PASSWORD"))
    yield made
    made.dispose()


def refused(engine: Engine, statement: Any) -> bool:
    """Whether the server refuses for want of rights; nothing else counts."""
    try:
        with engine.begin() as connection:
            connection.execute(statement)
    except exc.DBAPIError as error:
        if error.orig is None or error.orig.args[0] not in {1044, 1045, 1142, 1143, 1227}:
            raise
        return True
    return False


OUTCOME = {"prediction_id": "p", "outcome": "e", "source": "lab", "observed_us": 1, "recorded_us": 1}
EVERY_TABLE = sorted(tables.metadata.tables)
APPEND_ONLY = sorted(
    {*EVERY_TABLE}
    - {"ab_test", "ab_unit", "ab_total", "ab_interim_analysis", "ab_lease"}
    - {"checkpoint", "alert", "alert_delivery", "pipeline_run", "monitor_evaluation", "api_key"}
)


@pytest.mark.parametrize("oltp", ["api"], indirect=True)
def test_the_api_inserts_and_reads(oltp: Engine) -> None:
    migrate.check(oltp)
    row = {
        **dict.fromkeys(prediction_record.COLUMNS),
        "prediction_id": "p1",
        "created_us": 1,
        "model": "m",
        "version": 1,
        "prediction": "e",
    }
    row |= {"verdict": "edible", "unseen": "[]", "features": "{}", "latency_us": 1, "worker": "w", "recorded_us": 1}
    for _ in range(2):  # what the shipper does when it does not know whether it did
        shipper.upsert(oltp, [tuple(row[name] for name in prediction_record.COLUMNS)])
    with oltp.begin() as connection:
        connection.execute(insert(tables.outcome), {**OUTCOME, "revision": 1})
        assert connection.execute(select(tables.outcome.c.outcome)).scalars().all() == ["e"]
        for table in tables.metadata.sorted_tables:
            connection.execute(select(table)).all()


@pytest.mark.parametrize("oltp", ["api"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE prediction ADD COLUMN x INT",
        "DROP TABLE prediction",
        "TRUNCATE TABLE prediction",
        "CREATE TABLE x (y INT)",
        "CREATE INDEX x ON prediction (model)",
        "UPDATE alembic_version SET version_num = '0001'",
        "UPDATE api_key SET role = 'admin'",
        "INSERT INTO api_key (key_id, hash, role, label, created_us) VALUES ('a', 'b', 'c', 'd', 1)",
        "SELECT * FROM mysql.user",
        "CREATE USER x IDENTIFIED BY 'y'",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
    ],
)
def test_the_api_does_no_more(oltp: Engine, statement: str) -> None:
    assert refused(oltp, text(statement))


@pytest.mark.parametrize("oltp", ["api"], indirect=True)
@pytest.mark.parametrize("table", EVERY_TABLE)
def test_the_api_deletes_nothing(oltp: Engine, table: str) -> None:
    assert refused(oltp, delete(tables.metadata.tables[table]))


@pytest.mark.parametrize("oltp", ["api"], indirect=True)
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_what_is_append_only_is_not_changed_by_the_api(oltp: Engine, table: str) -> None:
    column = list(tables.metadata.tables[table].columns)[-1]
    assert refused(oltp, update(tables.metadata.tables[table]).values({column: None}))


@pytest.mark.parametrize("oltp", ["report"], indirect=True)
def test_the_report_account_reads_only(oltp: Engine) -> None:
    migrate.check(oltp)
    for table in tables.metadata.sorted_tables:
        assert refused(oltp, select(table)) == (table.name == "api_key")
        assert refused(oltp, table.insert().from_select(table.columns.keys(), select(table)))
        assert refused(oltp, delete(table))
    assert refused(oltp, text("DROP TABLE outcome"))


def test_the_warehouse_loader_loads_and_its_report_account_reads_only(deployed: dict[str, Deployed]) -> None:
    loader = connect(deployed["olap"].url("sporeprint_loader", "OLAP_LOADER_PASSWORD"))
    report = connect(deployed["olap"].url("sporeprint_report", "OLAP_REPORT_PASSWORD"))
    with loader.begin() as connection:
        connection.execute(text("CREATE TABLE fact (x INT)"))
        connection.execute(text("INSERT INTO fact VALUES (1)"))
    with report.connect() as connection:
        assert connection.execute(text("SELECT x FROM fact")).scalar() == 1
    changes = ("INSERT INTO fact VALUES (2)", "DELETE FROM fact", "UPDATE fact SET x = 3", "DROP TABLE fact", "ALTER TABLE fact ADD y INT")
    assert [change for change in (*changes, "CREATE TABLE z (x INT)") if not refused(report, text(change))] == []
    assert refused(loader, text("SELECT * FROM mysql.user"))
    loader.dispose()
    report.dispose()


def test_accounts_made_again_are_the_same_and_the_rows_stay(deployed: dict[str, Deployed]) -> None:
    server = deployed["oltp"].server
    server.execute("INSERT INTO batch VALUES (1, 'b', 1, 'm', 1, 1, '{}', 'a', 's', 1)", database="sporeprint")
    server.execute("GRANT DELETE ON sporeprint.* TO sporeprint_api@'%'")
    users = ("sporeprint_owner", "sporeprint_api", "sporeprint_report")
    deployed["oltp"].make_accounts()
    once = {user: sorted(map(str, server.execute(f"SHOW GRANTS FOR {user}@'%'"))) for user in users}
    deployed["oltp"].make_accounts()
    assert once == {user: sorted(map(str, server.execute(f"SHOW GRANTS FOR {user}@'%'"))) for user in users}
    assert "DELETE" not in str(once["sporeprint_api"])
    assert server.execute("SELECT batch_id FROM batch", database="sporeprint") == [("b",)]
    assert "ALL PRIVILEGES" not in str(once)


def test_no_account_may_more_than_one_database(deployed: dict[str, Deployed]) -> None:
    for name, users in {"oltp": ("owner", "api", "report"), "olap": ("loader", "report")}.items():
        for user in users:
            grants = [str(row[0]) for row in deployed[name].server.execute(f"SHOW GRANTS FOR sporeprint_{user}@'%'")]
            assert grants[0].startswith("GRANT USAGE ON *.* ")
            assert all(" ON `sporeprint`." in grant for grant in grants[1:])
            assert "GRANT OPTION" not in str(grants)
            assert user in {"owner", "loader"} or not re.search("CREATE|ALTER|DROP|DELETE|INDEX", str(grants).replace("`sporeprint`.", ""))


def test_the_services_do_their_work_with_their_accounts(
    deployed: dict[str, Deployed],
    compose: Compose,
    tmp_path: Path,
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their commands, with the environment that the compose file gives them, but for the place of the servers."""
    given = {**PASSWORDS, **{name: f"127.0.0.1:{each.server.port}" for name, each in deployed.items()}}

    def run(environment: dict[str, str], *command: str) -> None:
        for name, value in environment.items():
            value = re.sub(r"@(oltp|olap):3306", lambda found: f"@{given[found[1]]}", value)
            monkeypatch.setenv(name, re.sub(r"\$\{([A-Z_]+):[^}]*\}", lambda found: given[found[1]], value))
        code = cli.run([*command, "--json", "--workdir", str(tmp_path), "--config", str(config_file)])
        out, err = capsys.readouterr()
        assert code == 0, out + err
        assert not [name for name, password in PASSWORDS.items() if len(password) > 10 and password in out + err]

    for name in ("upgrade", "sync"):
        service = compose.services[name]
        assert service.command is not None
        run(service.environment, *service.command)
    reader = {"SPOREPRINT_OLAP_URL": "mysql+pymysql://sporeprint_report@olap:3306/sporeprint"}
    reader["SPOREPRINT_OLAP_PASSWORD"] = "${OLAP_REPORT_PASSWORD:?}"
    run(reader, "warehouse", "query", "SELECT COUNT(*) FROM fact_prediction")
    run(reader, "warehouse", "report")

"""The client against a real server: what it gives, what it raises, and that trying again makes nothing twice."""

import asyncio
import http.server
import inspect
import json
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest
from sqlalchemy import Engine, func, select

from flaky_proxy import FlakyProxy
from free_ports import free_port
from journal_support import until
from serving_support import Server, start_server, write_config
from sporeprint.ab_testing.design import Design, Mode
from sporeprint.client import AsyncClient, Client, Retries, ab_tests, administration, protocol, stored
from sporeprint.client import client as clients
from sporeprint.client.errors import ConflictError, NotFoundError, ProblemError
from sporeprint.client.protocol import Backoff, ConnectionLost, Request, Response, send
from sporeprint.errors import StorageError, UsageError
from sporeprint.registry.registry import Registry
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import ab_tests as store
from sporeprint.storage.oltp.ab_tests import PinnedVersion
from sporeprint.storage.oltp.tables import batch, outcome, prediction

FAST = Retries(more=4, first_s=0.01, longest_s=5)
NEVER = Retries(more=0)
#: No socket or file of a client's is left open: strict warnings are errors, here too.
HEAVY = {"numpy", "polars", "xgboost", "sklearn", "onnxruntime", "pyarrow", "scipy", "sqlalchemy", "orjson", "fastapi"}


@pytest.fixture(scope="module")
def folder(_small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("client") / "work"
    return Path(shutil.copytree(_small_run, root))


@pytest.fixture(scope="module")
def server(folder: Path, _small: dict[str, Any]) -> Iterator[Server]:
    server = start_server(folder, write_config({**_small, "gate": {"margin": 0.99}}, folder.parent / "config.yaml"))
    yield server
    server.end()


@pytest.fixture
def address(server: Server) -> str:
    return str(server.client.base_url)


class Awaited:
    """An `AsyncClient`, for tests that know no event loop: it is held to what the client that waits is held to."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*given, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __repr__(self) -> str:
        return repr(self._client)

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            return self._runner.run(getattr(self._client, name)(*given, **options))

        return call


#: Makes a client that waits, or one that awaits.
Make = Callable[..., Client]


@pytest.fixture(params=["waits", "awaits"])
def make(request: pytest.FixtureRequest) -> Any:
    return Client if request.param == "waits" else Awaited


@pytest.fixture
def client(make: Make, address: str) -> Iterator[Client]:
    with make(address, retries=FAST) as client:
        yield client


@pytest.fixture
def proxy(server: Server) -> Iterator[FlakyProxy]:
    assert server.client.base_url.port is not None
    with FlakyProxy(server.client.base_url.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def row(_small_run: Path) -> dict[str, Any]:
    return dict(Registry(_small_run / "models/registry").load("production").golden.rows[0])


@pytest.fixture
def database(folder: Path) -> Iterator[Engine]:
    from sqlalchemy import URL

    engine = connect(URL.create("sqlite", database=str(folder / "data/sporeprint.db")))
    yield engine
    engine.dispose()


def rows_of(engine: Engine, table: Any, server: Server) -> int:
    """How many there are, when all that was answered has arrived."""
    until(lambda: server.client.get("/health").json()["journal"]["depth"] == 0, 30)
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_it_loads_nothing_that_a_program_with_a_client_does_not_need() -> None:
    code = "import sys; from sporeprint.client import Client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" in loaded
    assert set(loaded) & HEAVY == set()


# --- what it gives


def test_an_answer(client: Client, row: dict[str, Any]) -> None:
    said = client.predict(row)
    assert said.verdict in ("edible", "poisonous", "unknown")
    assert 0 <= said.probability <= 1
    assert (said.model, said.version, said.replayed, said.explanation) == (client.models().serving.partition("/")[0], 1, False, None)
    assert client.predict(row).prediction_id != said.prediction_id


def test_reasons(client: Client, row: dict[str, Any]) -> None:
    said = client.predict(row, explain=True, model="xgboost/v1")
    assert said.explanation is not None
    effects = [abs(reason.effect) for reason in said.explanation.attributions]
    assert effects == sorted(effects, reverse=True)
    assert len(effects) > 1
    assert said.explanation.attributions[0].column in row


def test_a_key_of_ones_own_gives_the_same_answer(client: Client, row: dict[str, Any]) -> None:
    mine = secrets.token_hex(4)
    first, second = (client.predict(row, idempotency_key=mine) for _ in range(2))
    assert (first.replayed, second.replayed) == (False, True)
    assert second.prediction_id == first.prediction_id
    with pytest.raises(clients.InvalidError, match="this Idempotency-Key was used for another row") as error:
        client.predict({}, idempotency_key=mine)
    assert error.value.kind == "key-used"


def test_asked_until_there_is_nothing_to_ask(client: Client, row: dict[str, Any], database: Engine, server: Server) -> None:
    before = rows_of(database, prediction, server)
    observed: dict[str, Any] = {}
    standing = client.identify(observed, model="production")
    assert (standing.verdict, standing.unknown, standing.is_final) == ("unknown", "too_little_observed", False)
    for _ in range(20):
        if standing.is_final:
            break
        question = standing.next_questions[0].column
        assert question not in observed
        value = row.get(question)
        observed[question] = "not observed" if value is None else value
        standing = client.identify(observed)
    assert standing.is_final
    assert rows_of(database, prediction, server) == before


def test_a_partial_row_says_which_unknown_it_is(client: Client, row: dict[str, Any]) -> None:
    answers = [client.predict({}), *client.predict_batch([{}])]
    assert [answer.unknown for answer in answers] == ["too_little_observed"] * 2
    assert answers[0].look_at == answers[1].look_at != ()
    strange = [client.predict(row | {"cap-shape": "never"}), *client.predict_batch([row | {"cap-shape": "never"}])]
    assert [(answer.unknown, answer.look_at) for answer in strange] == [("out_of_distribution", ())] * 2


def test_many_rows_and_the_ones_that_are_none(client: Client, row: dict[str, Any]) -> None:
    said = client.predict_batch(iter([row, {"no-such-field": 1}, row]), model="xgboost")
    assert [each.row for each in said] == [0, 1, 2]
    assert [each.row for each in said.problems] == [1]
    problem = said.predictions[1].problem
    assert problem is not None
    assert (problem.kind, problem.status) == ("not-valid", 422)
    assert "unknown field 'no-such-field'" in problem.detail
    assert said.predictions[0].verdict == client.predict(row, model="xgboost").verdict
    assert said.predictions[1].verdict == "unknown"
    assert said.models == ("xgboost/v1",)
    assert said.predictions[0].prediction_id == f"{said.batch_ids[0]}:0"
    assert len(client.predict_batch([])) == 0


def test_more_rows_than_are_sent_at_a_time(client: Client, row: dict[str, Any]) -> None:
    said = client.predict_batch({**row} for _ in range(10_001))
    assert [each.row for each in said] == list(range(10_001))
    assert len(said.batch_ids) == 2
    assert said.problems == ()


@pytest.mark.parametrize(("given", "to"), [("rows.csv", "said.parquet"), ("rows.parquet", "said.csv")])
def test_a_file_of_rows(client: Client, row: dict[str, Any], tmp_path: Path, given: str, to: str) -> None:
    frame = pl.DataFrame([row] * 500)
    frame.write_csv(tmp_path / given) if given.endswith("csv") else frame.write_parquet(tmp_path / given)
    said = client.predict_file(tmp_path / given, to=tmp_path / to)
    assert said.path == tmp_path / to
    assert said.size == said.path.stat().st_size
    found = said.frame()
    assert found.height == 500
    assert found["verdict"][0] == client.predict(row).verdict
    assert found["prediction_id"][7] == f"{said.batch_id}:7"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([given, to])


def test_outcomes(client: Client, row: dict[str, Any], tmp_path: Path) -> None:
    ids = [client.predict(row).prediction_id for _ in range(3)]
    seen = datetime(2026, 1, 31, 12, tzinfo=UTC)
    first = client.outcome(ids[0], "poisonous", source="laboratory", observed=seen)
    assert (first.revision, first.outcome, first.source, first.created) == (1, "p", "laboratory", True)
    assert first.observed == "2026-01-31T12:00:00.000Z"
    kept = client.prediction(ids[0], explain=True)
    assert kept.outcome is not None
    assert (kept.outcome.outcome, kept.prediction_id, kept.outcome_unknown) == ("p", ids[0], None)
    assert client.outcome(ids[0], "edible").revision == 2
    said = client.outcomes([{"prediction_id": ids[1], "outcome": "e"}, {"prediction_id": "none", "outcome": "e"}])
    assert (said.created, [each.row for each in said.problems]) == (1, [1])
    pl.DataFrame({"prediction_id": ids, "outcome": ["e", "e", "p"]}).write_csv(tmp_path / "seen.csv")
    assert client.outcomes(tmp_path / "seen.csv").created == 1
    assert client.prediction(ids[1]).outcome is not None


def test_a_prediction_of_a_batch(client: Client, row: dict[str, Any]) -> None:
    said = client.predict_batch([row])
    assert said.predictions[0].prediction_id is not None
    kept = client.prediction(said.predictions[0].prediction_id)
    assert (kept.batch_id, kept.verdict) == (said.batch_ids[0], said.predictions[0].verdict)


def test_what_is_stored_is_found_again(client: Client, row: dict[str, Any]) -> None:
    batch_id = client.predict_batch([row, row]).batch_ids[0]
    first = client.search_predictions(batch_id=batch_id, limit=1)
    rest = client.search_predictions(batch_id=batch_id, before=first.next)
    assert [each.prediction_id for each in (*first.predictions, *rest.predictions)] == [f"{batch_id}:0", f"{batch_id}:1"]
    assert client.search_predictions(since=datetime(2200, 1, 1, tzinfo=UTC)).predictions == ()
    with pytest.raises(UsageError, match="outcome: expected one of none, right, wrong, corrected"):
        client.search_predictions(outcome="odd")
    with pytest.raises(UsageError, match="of: Extra inputs are not permitted"):
        client.search_predictions(of="all")
    assert client.batch(batch_id).rows == 2
    end = time.monotonic() + 30
    while batch_id not in {each.batch_id for each in client.batches(limit=200).batches}:  # the database has it seconds later
        assert time.monotonic() < end
        time.sleep(0.1)
    with pytest.raises(NotFoundError):
        client.batch("none")


def test_versions_side_by_side(client: Client) -> None:
    compared = client.compare("xgboost/v1", "decision_tree")
    assert (compared.a.version, compared.b.version) == (1, 1)
    assert {each.name for each in compared.metrics} >= {"accuracy", "mcc"}
    assert client.model_version("xgboost", 1).problems == ()
    with pytest.raises(NotFoundError, match="has no version 'v9'"):
        client.compare("xgboost/v1", "xgboost/v9")


def test_models_and_health(client: Client) -> None:
    found = client.models()
    assert found.production == found.serving
    assert [model.name for model in found.models] == ["decision_tree", "logistic_regression", "xgboost"]
    health = client.health()
    assert (health.status, health.is_serving) == ("ok", True)


def test_many_are_awaited_at_once(address: str, row: dict[str, Any]) -> None:
    async def work() -> None:
        async with AsyncClient(address, retries=FAST) as client:
            said = await asyncio.gather(*(client.predict(row) for _ in range(20)))
            assert len({each.prediction_id for each in said}) == 20

    asyncio.run(work())


def test_methods_show_what_they_take() -> None:
    homes = (protocol, ab_tests, administration, stored)
    calls = [getattr(home, name) for home in homes for name in vars(home) if not name.startswith("_") and hasattr(Client, name)]
    assert {"predict", "predict_batch", "outcome", "health", "ab_test", "label"} <= {call.__name__ for call in calls}
    for call in calls:
        for kind in (Client, AsyncClient):
            method = getattr(kind, call.__name__)
            first, *others = inspect.signature(method).parameters.values()
            assert first.name == "self"
            assert others == list(inspect.signature(call).parameters.values())
            assert method.__doc__ == call.__doc__ is not None


def test_versions_are_moved_and_moved_back(client: Client, folder: Path) -> None:
    registry = Registry(folder / "models/registry")
    before = registry.resolve("production").ref
    other = next(name for name in ("decision_tree", "logistic_regression") if before != f"{name}/v1")
    moved = client.promote(other, 1, production=True, reason="a try")
    assert (moved.ref, moved.alias, moved.production, moved.reason) == (f"{other}/v1", "production", f"{other}/v1", "a try")
    until(lambda: client.models().serving == f"{other}/v1", 10)
    for _ in range(2):
        back = client.rollback(other, 1, production=True)
        assert (back.ref, back.before, back.alias, back.production) == (before, f"{other}/v1", "production", before)
    until(lambda: client.models().serving == before, 10)
    assert client.promote(other, 1).alias == "champion"
    with pytest.raises(clients.NotFoundError, match="has no version 'v7'"):
        client.promote(other, 7)
    with pytest.raises(clients.ConflictError, match="has no earlier version to go back to") as error:
        client.rollback(other, 1)
    assert not error.value.retryable


# --- what it raises


def test_an_ab_test_from_its_plan_to_its_end(client: Client, database: Engine) -> None:
    plan = client.plan_ab_test(0.1, 0.02, mode="shadow", shared=0.01, per_day=100)
    assert plan.days is not None
    assert plan.days.median is not None
    with pytest.raises(ProblemError, match="rate_a and rate_b are both"):
        client.plan_ab_test(0.1, 0.1)
    name = f"t-{secrets.token_hex(4)}"
    a, b = (PinnedVersion(model, 1, "0") for model in ("xgboost", "decision_tree"))
    test = store.create(database, Design(name, a.ref, b.ref, mode=Mode.SHADOW), a, b, now_us=1, actor="t", independent=True)
    assert client.lease_labels(name, count=2).items == ()
    with pytest.raises(NotFoundError, match="is no item of the test"):
        client.label(name, "none", "p")
    seen = client.ab_test(name)
    assert seen is not None
    assert seen.test_id == test.test_id
    with pytest.raises(ProblemError, match="reason is missing"):
        client.conclude_ab_test(name, winner="A")
    ended = client.conclude_ab_test(name, winner="A", reason="tried")
    assert client.ab_test(name, since=ended.events[-1].at_us) is None
    with pytest.raises(ConflictError, match="no promotion to take back"):
        client.rollback_ab_test(name, reason="tried")


def test_what_is_refused_is_said_with_the_documents_fields(client: Client, row: dict[str, Any]) -> None:
    with pytest.raises(clients.InvalidError, match=r"^422 A field cannot be understood: unknown field 'cap-shap'") as invalid:
        client.predict({"cap-shap": "x"})
    assert (invalid.value.status, invalid.value.kind, invalid.value.retryable) == (422, "not-valid", False)
    with pytest.raises(clients.NotFoundError, match="there is no prediction 'none'"):
        client.prediction("none")
    with pytest.raises(clients.NotFoundError) as unknown:
        client.predict(row, model="none")
    assert unknown.value.kind == "no-such-model"
    with pytest.raises(clients.NotFoundError):
        client.prediction("../models")  # it is an id, never a path


@pytest.mark.parametrize("value", [float("inf"), object(), {1, 2}])
def test_what_json_cannot_say_is_not_sent(client: Client, value: Any) -> None:
    with pytest.raises(UsageError, match=r"is infinite|cannot be sent as JSON"):
        client.predict({"cap-diameter": value})


def test_what_is_wrong_before_anything_is_sent(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"expected one that begins with http:// or https://"):
        Client("localhost:8000")
    with pytest.raises(UsageError, match="expected a time with its zone"):
        client.outcome("x", "e", observed=datetime(2026, 1, 1))  # noqa: DTZ001 -- that is what is wrong
    with pytest.raises(UsageError, match=r"rows\.txt: expected a file that ends in \.csv or \.parquet"):
        client.predict_file("rows.txt", to="x.csv")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        client.predict_file(tmp_path / "none.csv", to="x.csv")
    with pytest.raises(UsageError, match="the API key") as error:
        Client(api_key="secret\nkey")
    assert "secret" not in str(error.value)


def test_a_file_that_cannot_be_written(client: Client, row: dict[str, Any], tmp_path: Path) -> None:
    pl.DataFrame([row]).write_csv(tmp_path / "rows.csv")
    with pytest.raises(StorageError, match="cannot be written: No such file or directory"):
        client.predict_file(tmp_path / "rows.csv", to=tmp_path / "none/said.csv")


def test_where_nobody_listens(make: Make) -> None:
    begin = time.monotonic()
    with (
        make(f"http://127.0.0.1:{free_port()}", retries=FAST) as client,
        pytest.raises(clients.UnreachableError, match=r"^GET /models: ConnectError: .*; tried 5 times$") as error,
    ):
        client.models()
    assert error.value.retryable
    assert time.monotonic() - begin < 5


def test_where_nobody_answers_in_time(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with make(where, timeout_s=0.1, retries=NEVER) as client, pytest.raises(clients.UnreachableError, match="ReadTimeout"):
            client.models()


# --- trying again


def test_an_answer_that_was_lost_is_given_again_and_made_once(
    make: Make, proxy: FlakyProxy, server: Server, row: dict[str, Any], database: Engine
) -> None:
    before = rows_of(database, prediction, server)
    proxy.drop = 3
    with make(proxy.address, retries=FAST) as client:
        said = client.predict(row)
        assert said.replayed
        assert proxy.connections == 4
        assert client.prediction(said.prediction_id).verdict == said.verdict
    assert rows_of(database, prediction, server) == before + 1


def test_a_batch_that_breaks_off_is_sent_again_and_kept_once(
    make: Make, proxy: FlakyProxy, server: Server, row: dict[str, Any], database: Engine, tmp_path: Path
) -> None:
    pl.DataFrame([row] * 2000).write_csv(tmp_path / "rows.csv")
    before = rows_of(database, batch, server)
    with make(proxy.address, retries=FAST) as client:
        proxy.cut = [500, 0]
        said = client.predict_file(tmp_path / "rows.csv", to=tmp_path / "said.csv")
        assert said.replayed
        assert said.frame().height == 2000
        proxy.drop = 1
        assert len(client.predict_batch([row] * 3)) == 3
    until(lambda: rows_of(database, batch, server) == before + 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "said.csv"]


def test_an_outcome_whose_answer_was_lost_is_one_revision(
    make: Make, proxy: FlakyProxy, server: Server, row: dict[str, Any], database: Engine
) -> None:
    with make(proxy.address, retries=FAST) as client:
        prediction_id = client.predict(row).prediction_id
        before = rows_of(database, outcome, server)
    proxy.drop = 2
    with make(proxy.address, retries=FAST) as client:
        assert client.outcome(prediction_id, "edible").revision == 1
    assert rows_of(database, outcome, server) == before + 1


def test_a_rollback_whose_answer_was_lost_goes_back_once(make: Make, proxy: FlakyProxy, folder: Path) -> None:
    registry = Registry(folder / "models/registry")
    before = registry.resolve("production").ref
    for ref in ("logistic_regression", "decision_tree"):
        registry.set_production(ref, reason="a test", now=datetime.now(UTC))
    proxy.drop = 2
    with make(proxy.address, retries=FAST) as client:
        assert client.rollback("decision_tree", 1, production=True).ref == "logistic_regression/v1"
        assert registry.resolve("production").ref == "logistic_regression/v1"
        assert client.rollback("logistic_regression", 1, production=True).ref == before


def test_connections_that_are_refused_are_tried_again(make: Make, proxy: FlakyProxy, row: dict[str, Any]) -> None:
    proxy.refuse = 2
    with make(proxy.address, retries=FAST) as client:
        assert not client.predict(row).replayed
        assert proxy.connections == 3
    proxy.refuse = 9
    with make(proxy.address, retries=FAST) as client, pytest.raises(clients.UnreachableError, match="tried 5 times"):
        client.predict(row)


@dataclass
class Told:
    """A server that says what it is told to, and keeps what it was asked.

    Attributes:
        answers: status, headers and body of each, in turn.
        asked: headers of each request.
    """

    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[dict[str, str]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def told() -> Iterator[Told]:
    found = Told([])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = found.answers.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 -- the library's name

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


PROBLEM = {"Content-Type": "application/problem+json"}
MODELS: tuple[int, dict[str, str], bytes] = (
    200,
    {},
    b'{"production": null, "serving": "m/v1", "models": [], "said-by-a-newer-service": 1}',
)


@pytest.mark.parametrize("status", [429, 503])
def test_what_the_service_asks_for_is_waited_for(make: Make, told: Told, status: int) -> None:
    told.answers = [(status, {**PROBLEM, "Retry-After": "1"}, b"{}"), MODELS]
    begin = time.monotonic()
    with make(told.address, retries=FAST) as client:
        assert client.models().serving == "m/v1"
    assert 1 <= time.monotonic() - begin < 3
    assert told.asked[0]["x-request-id"] == told.asked[1]["x-request-id"]


def test_a_gateway_without_a_word_is_tried_again(make: Make, told: Told) -> None:
    told.answers = [(502, {}, b"<html>"), (503, {}, b"<html>"), (504, {}, b""), MODELS]
    with make(told.address, retries=FAST) as client:
        assert client.models().serving == "m/v1"
    told.answers = [(502, {}, b"<html>bad gateway")]
    with make(told.address, retries=NEVER) as client, pytest.raises(clients.UnavailableError, match="bad gateway") as error:
        client.models()
    assert (error.value.status, error.value.kind) == (502, "")


def test_what_would_be_waited_for_too_long_is_raised_at_once(make: Make, told: Told) -> None:
    told.answers = [(503, {**PROBLEM, "Retry-After": "3600", "X-Request-Id": "r1"}, b'{"title": "Not possible now", "detail": "away"}')]
    with make(told.address, retries=FAST) as client, pytest.raises(clients.UnavailableError, match="503 Not possible now: away") as error:
        client.models()
    assert (error.value.retry_after_s, error.value.request_id, error.value.retryable) == (3600, "r1", True)


def test_what_stays_is_not_tried_again(make: Make, told: Told) -> None:
    told.answers = [(503, PROBLEM, b'{"type": "urn:sporeprint:problem:model-damaged", "title": "x", "detail": "y"}')]
    with make(told.address, retries=FAST) as client, pytest.raises(clients.UnavailableError) as error:
        client.models()
    assert error.value.kind == "model-damaged"


def test_every_try_of_a_write_has_one_key_and_every_call_another(make: Make, told: Told) -> None:
    said = b'{"prediction_id": "i", "outcome": "e", "revision": 1, "source": "api", "observed": "t", "recorded": "t", "created": true}'
    told.answers = [(503, {"Retry-After": "0"}, b""), (200, {}, said), (200, {}, said)]
    with make(told.address, api_key="k" * 40, retries=FAST) as client:
        client.outcome("i", "e")
        client.outcome("i", "e")
    keys = [asked["idempotency-key"] for asked in told.asked]
    assert keys[0] == keys[1] != keys[2]
    assert told.asked[0]["authorization"] == f"Bearer {'k' * 40}"


def test_the_key_comes_from_the_environment_and_is_never_shown(make: Make, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOREPRINT_API_KEY", "spk_from_outside")
    told.answers = [MODELS, (401, {**PROBLEM, "WWW-Authenticate": "Bearer"}, b'{"title": "A key is needed", "detail": "send one"}')]
    with make(told.address) as client:
        client.models()
        assert told.asked[0]["authorization"] == "Bearer spk_from_outside"
        assert "spk_" not in repr(client)
        with pytest.raises(clients.AuthenticationError, match="401 A key is needed") as error:
            client.models()
    assert "spk_" not in str(error.value)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'"text"'])
def test_what_is_no_answer_of_the_service(make: Make, told: Told, body: bytes) -> None:
    told.answers = [(200, {}, body)]
    with make(told.address) as client, pytest.raises(clients.AnswerError, match="is this the address of the service"):
        client.health()


def test_a_service_that_fails_says_so_and_that_is_no_error(make: Make, told: Told) -> None:
    model = {"status": "ok", "model": "m", "version": 1, "ref": "m/v1", "manifest": "", "engine": "onnx", "simulated": False}
    journal = {"status": "failing", "depth": 0, "age_s": 0, "waiting": 0, "failures": 1, "refused": 0}
    parts = {"model": model, "journal": journal, "database": {"status": "ok", "shipped": 0, "failures": 0}}
    body = json.dumps({"status": "failing", "worker": "w", "in_flight": 1, **parts}).encode()
    told.answers = [(503, {"Content-Type": "application/json"}, body), (503, PROBLEM, b'{"title": "x", "detail": "y"}')]
    with make(told.address, retries=NEVER) as client:
        assert not client.health().is_serving
        with pytest.raises(clients.UnavailableError):
            client.health()


def test_pauses_double_and_are_of_any_length() -> None:
    retries = Retries(more=9, first_s=1.0, longest_s=8.0)
    for tried, most in ((1, 1), (2, 2), (3, 4), (4, 8), (9, 8)):
        found = sorted(retries.pause(tried, 3.0).seconds - 3 for _ in range(400))
        # In each fifth there are some: none would be in one with a probability below 1e-38.
        assert 0 <= found[0] < found[-1] <= most
        assert all(any(fifth / 5 <= each / most <= (fifth + 1) / 5 for each in found) for fifth in range(5))


@pytest.mark.parametrize(("said", "least"), [("2", 2.0), ("Mon, 23 Nov 2015 04:00:00 GMT", 0.0), ("soon", 0.0)])
def test_the_time_to_wait_is_read_in_both_its_forms(said: str, least: float) -> None:
    call = send(Request("GET", "/"), Retries(first_s=0.5))
    next(call)
    pause = call.send(Response(503, {"retry-after": said}, b""))
    assert isinstance(pause, Backoff)
    assert least <= pause.seconds <= least + 0.5
    call.send(None)
    assert isinstance(call.send(ConnectionLost("x")), Backoff)

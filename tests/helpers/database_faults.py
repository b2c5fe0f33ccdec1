"""A link to a database that refuses, is silent, slow, or cut in the middle of an answer; and one request for each endpoint of a server."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlencode

from sporeprint.model_serving.ui.routes import UI_ROUTES

Fault = Literal["refused", "silent", "slow", "cut"]
FAULTS: tuple[Fault, ...] = ("refused", "silent", "slow", "cut")
#: Seconds that each answer of a slow database takes longer.
SLOW_S = 0.3


class FaultyLink:
    """A port of this machine that leads to another one; `fault` changes what happens to all that goes through it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._fault: Fault | None = None
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listening.getsockname()[1])
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.fault = "refused"

    @property
    def fault(self) -> Fault | None:
        """None: there is none."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        before, self._fault = self._fault, fault
        if fault == "refused":
            self._close(self._listening)
        elif before == "refused":
            self._listening = socket.create_server(("127.0.0.1", self.port), backlog=512)
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()
        if fault == "refused" or (before == "silent" and fault is None):
            with self._guard:
                for sock in self._open:
                    self._close(sock)
                self._open.clear()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                self._close(client)
                continue
            server.settimeout(None)
            with self._guard:
                self._open += [client, server]
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        self._close(target)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if self._fault == "slow":
                    time.sleep(SLOW_S)
                elif self._fault == "cut":
                    client.sendall(data[: len(data) // 2])
                    break
                elif self._fault == "silent":
                    return  # the connection stays open
                client.sendall(data)
        self._close(client)
        self._close(server)

    @staticmethod
    def _close(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


class Ask(NamedTuple):
    """A request, and how it is answered where nothing is wrong.

    Attributes:
        method: of HTTP.
        path: with its parameters.
        status: of the answer.
        body: JSON values, or the bytes of a form.
        headers: further ones.
        is_independent: whether it is answered the same while the database is away.
        is_page: whether it is a page, which may also say what is missing, or lead elsewhere.
    """

    method: str
    path: str
    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 -- of a NamedTuple
    is_independent: bool = True
    is_page: bool = False


ROW = {"cap-shape": "x"}


def requests(prediction_id: str, test: str, model: str, columns: Mapping[str, bool]) -> dict[str, Ask]:
    """One request for each endpoint, by its name.

    Args:
        prediction_id: of a prediction that the database has.
        test: name of an A/B test.
        model: name of a model with one version.
        columns: of the table -> whether they are numbers.
    """
    types = {name: "FP64" if is_number else "BYTES" for name, is_number in columns.items()}
    infer = {"inputs": [{"name": name, "shape": [1], "datatype": datatype, "data": [None]} for name, datatype in types.items()]}

    def stored(method: str, path: str, status: int = 200, body: Any = None) -> Ask:
        return Ask(method, path, status, body, is_independent=False)

    return {
        "predict": Ask("POST", "/predict", body=ROW),
        "predict with a key": Ask("POST", "/predict", body=ROW, headers={"Idempotency-Key": f"k-{time.monotonic_ns()}"}),
        "predict_batch": Ask("POST", "/predict/batch", body=[ROW]),
        "identify": Ask("POST", "/identify", body=ROW),
        "prediction": stored("GET", f"/predictions/{prediction_id}"),
        "outcome": stored("POST", f"/predictions/{prediction_id}/outcome", 201, {"outcome": "p"}),
        "outcomes": stored("POST", "/predictions/outcomes", body=[{"prediction_id": prediction_id, "outcome": "p"}]),
        "models": Ask("GET", "/models"),
        "schema": Ask("GET", "/schema"),
        "model_version": Ask("GET", f"/models/{model}/versions/1"),
        "model_file": Ask("GET", f"/models/{model}/versions/1/files/metrics.json"),
        "model_compare": Ask("GET", "/models/compare?a=xgboost/v1&b=decision_tree/v1"),
        "gate_check": Ask("POST", f"/models/{model}/check", body={"version": 1}),
        "alias_history": Ask("GET", "/aliases/history"),
        "prediction_search": stored("GET", "/predictions"),
        "batches": stored("GET", "/batches"),
        "batch": stored("GET", "/batches/none", 404),
        "batch_file": stored("GET", "/batches/none/file", 404),
        "promote": stored("POST", f"/models/{model}/promote", body={"version": 1, "allow_simulated": True}),
        "rollback": stored("POST", f"/models/{model}/rollback", 409, {"version": 1}),
        "ab_tests": stored("GET", "/ab-tests"),
        "ab_create": stored("POST", "/ab-tests", 409, {"name": test, "model_a": "xgboost", "model_b": "decision_tree"}),
        "ab_test": stored("GET", f"/ab-tests/{test}"),
        "ab_disagreements": stored("GET", f"/ab-tests/{test}/disagreements"),
        "ab_report": stored("GET", f"/ab-tests/{test}/report"),
        "ab_conclude": stored("POST", "/ab-tests/none/conclude", 404, {}),
        "alerts": stored("GET", "/alerts"),
        "alert": stored("GET", "/alerts/none", 404),
        "acknowledge": stored("POST", "/alerts/none/acknowledge", 404, {}),
        "streams": stored("GET", "/monitoring/streams"),
        "evaluations": stored("GET", "/monitoring/evaluations"),
        "evaluation": stored("GET", "/monitoring/evaluations/none", 404),
        "evaluation_report": stored("GET", "/monitoring/evaluations/none/report", 404),
        "runs": stored("GET", "/runs"),
        "run": stored("GET", "/runs/none", 404),
        "rejected": stored("GET", "/runs/none/rejected", 404),
        "rejected_file": stored("GET", "/runs/none/rejected/file", 404),
        "me": Ask("GET", "/me"),
        "keys": stored("GET", "/keys"),
        "create_key": stored("POST", "/keys", 409, {"name": test, "roles": ["read"]}),
        "revoke_key": stored("DELETE", "/keys/none", 404),
        "settings": Ask("GET", "/settings"),
        "audit": stored("GET", "/audit"),
        "ab_rollback": stored("POST", "/ab-tests/none/rollback", 404, {"reason": "worse"}),
        "ab_plan": Ask("POST", "/ab-tests/plan", 400, {"rate_a": 0.1, "rate_b": 0.01, "unit": "none"}),
        "ab_lease": stored("POST", f"/ab-tests/{test}/labels/lease", body={}),
        "ab_label": stored("POST", f"/ab-tests/{test}/labels", 404, {"prediction_id": "none", "outcome": "p"}),
        "metrics": Ask("GET", "/metrics"),
        "health": Ask("GET", "/health"),
        "activity": Ask("GET", "/activity"),
        "live": Ask("GET", "/health/live"),
        "ready": Ask("GET", "/health/ready"),
        "openapi": Ask("GET", "/openapi.json"),
        "docs": Ask("GET", "/docs"),
        "index": Ask("GET", "/"),
        "oip_live": Ask("GET", "/v2/health/live"),
        "oip_ready": Ask("GET", "/v2/health/ready"),
        "oip_server": Ask("GET", "/v2"),
        "oip_models": Ask("GET", "/v2/models"),
        "oip_model": Ask("GET", f"/v2/models/{model}"),
        "oip_model_version": Ask("GET", f"/v2/models/{model}/versions/1"),
        "oip_model_ready": Ask("GET", f"/v2/models/{model}/ready"),
        "oip_version_ready": Ask("GET", f"/v2/models/{model}/versions/1/ready"),
        "oip_infer": Ask("POST", f"/v2/models/{model}/infer", body=infer),
        "oip_version_infer": Ask("POST", f"/v2/models/{model}/versions/1/infer", body=infer),
        "oip_index": Ask("POST", "/v2/repository/index", body={}),
        "oip_load": Ask("POST", f"/v2/repository/models/{model}/load", body={}),
        "oip_unload": Ask("POST", f"/v2/repository/models/{model}/unload", 400, body={}),
    }


def page_requests(prediction_id: str, test: str, model: str) -> dict[str, Ask]:
    """One request for each page for people, by its name; a form that is not listed here is sent empty."""
    places = {"prediction_id": prediction_id, "test_id": test}
    forms = {
        "ui_ask": ROW,
        "ui_outcome": {"outcome": "p"},
        "ui_promote": {"ref": f"{model}/v1", "alias": "production", "reason": "a trial"},
        "ui_rollback": {"ref": f"{model}/v1", "alias": "production", "reason": "a trial"},
        "ui_log_in": {"key": "none"},
    }
    asks = {}
    for route in UI_ROUTES:
        path = re.sub(r"\{(\w+)[^}]*\}", lambda found: places.get(found[1], found[1]), route.path)
        ask = Ask("GET", path, is_independent=False, is_page=True)
        if "POST" in (route.methods or ()):
            body = urlencode(forms.get(route.name, {})).encode()
            ask = ask._replace(method="POST", body=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
        asks[route.name] = ask
    return asks


def problem_of(ask: Ask, status: int, seconds: float, headers: Any, patience: float = 1.0) -> str | None:
    """What is wrong with an answer while the database fails; None: nothing. Seconds are held against the limits times `patience`."""
    if status // 100 == ask.status // 100 == 2:  # an outcome is created once
        status = ask.status
    if ask.is_page and status < 500:
        status = ask.status
    if ask.is_independent and status != ask.status:
        return f"{status} instead of {ask.status}"
    if status not in (ask.status, 503):
        return f"{status} instead of {ask.status} or 503"
    if status == 503 and not 0 < int({name.lower(): value for name, value in dict(headers).items()}.get("retry-after", 0)) <= 10:
        return "503 without a Retry-After of at most 10 s"
    if seconds > patience * (5 if ask.is_independent else 10 if status == 503 else 30):
        return f"{seconds:.1f} s"
    return None

"""What is asked of the workers of any cluster. Tasks on real ones: `test_spark_engine`, `test_dask_engine`."""

import socket
import threading
import time
from pathlib import Path

import pytest
import xgboost

from sporeprint.common.cluster_engine import WorkerReport, own_address, reason_of, refuse_unlike, result_by, versions
from sporeprint.errors import ConfigError, SourceUnavailableError


def test_a_worker_unlike_this_machine_is_named() -> None:
    packages = versions()
    assert packages["xgboost"] == xgboost.__version__
    refuse_unlike(WorkerReport("w1", "3.11.7 at /usr/bin/python3", packages, sees_share=True), Path("/mnt/run"))
    with pytest.raises(ConfigError, match=r"^the worker w1 has polars 0\.1, here is .*; install the same version on both"):
        refuse_unlike(WorkerReport("w1", "3.11.7", {**packages, "polars": "0.1"}, sees_share=True), Path("/mnt/run"))
    with pytest.raises(ConfigError, match=r"^the worker w1 has no xgboost in its Python \(3\.11\.7\); install there what"):
        refuse_unlike(WorkerReport("w1", "3.11.7", {**packages, "xgboost": None}, sees_share=True), Path("/mnt/run"))
    with pytest.raises(ConfigError, match=r"^the worker w1 does not see the work directory /mnt/run; put it on a share"):
        refuse_unlike(WorkerReport("w1", "3.11.7", packages, sees_share=False), Path("/mnt/run"))


def test_the_own_address_is_that_of_the_network_of_a_host_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert own_address("127.0.0.1", server.getsockname()[1], "scheduler answers") == "127.0.0.1"
        port = server.getsockname()[1]
    with pytest.raises(SourceUnavailableError, match=r"^no scheduler answers: Connection refused; is it running"):
        own_address("127.0.0.1", port, "scheduler answers")


def test_the_reason_of_an_error_is_its_first_line() -> None:
    assert reason_of(ValueError("\n  a share is gone \nat java.lang.Thread")) == "a share is gone"
    assert reason_of(ValueError()) == "ValueError"
    assert len(reason_of(ValueError("x" * 999))) == 300


def test_a_call_that_never_returns_is_given_up_and_keeps_no_process_from_ending() -> None:
    assert result_by(time.monotonic() + 60, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        result_by(time.monotonic() + 60, lambda: 1 / 0)
    never, threads = threading.Event(), set(threading.enumerate())
    with pytest.raises(TimeoutError):
        result_by(time.monotonic(), never.wait)
    (left,) = set(threading.enumerate()) - threads
    assert left.daemon
    never.set()
    left.join()

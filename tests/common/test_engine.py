"""Tasks on this machine: results in order, errors as they are, and a process that is killed."""

import os
import signal
from contextlib import closing
from functools import partial

import pytest

from sporeprint.common.engine import LocalEngine
from sporeprint.errors import DataError, RetryableError


def where(task: int) -> tuple[int, int]:
    return task, os.getpid()


def refuse(task: int) -> int:
    raise DataError(f"task {task} is refused")


def die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_tasks_run_in_processes_that_stay_and_results_come_in_order() -> None:
    with closing(LocalEngine(2)) as engine:
        results = list(engine.map(where, range(5)))
        assert [task for task, _ in results] == list(range(5))
        processes = {process for _, process in results} | {process for _, process in engine.map(where, range(5))}
        assert os.getpid() not in processes
        assert len(processes) <= 2
        with pytest.raises(DataError, match=r"^task 0 is refused$"):
            list(engine.map(refuse, range(3)))
        with pytest.raises(RetryableError, match=r"^a process of this run ended without a word"):
            list(engine.map(die, range(3)))


@pytest.mark.parametrize(("workers", "tasks"), [(1, 3), (2, 1)])
def test_what_needs_no_further_process_starts_none(workers: int, tasks: int) -> None:
    assert {process for _, process in LocalEngine(workers).map(partial(where), range(tasks))} == {os.getpid()}

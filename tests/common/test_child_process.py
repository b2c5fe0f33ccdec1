"""Work in a process of its own: what it yields, how it fails, and that it ends with who started it."""

import multiprocessing
import multiprocessing.spawn
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from journal_support import until
from sporeprint.common.child_process import ChildDiedError, ChildProcess, run_in_child
from sporeprint.errors import DataError


@pytest.fixture(autouse=True)
def _started_by_python() -> Iterator[None]:
    """Here, processes are started as they are outside tests."""
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(sys.executable)
    yield
    multiprocessing.set_executable(before)


def count(most: int) -> Iterator[int]:
    yield from range(most)


def fail() -> None:
    raise DataError("a sentence")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def own_pid() -> int:
    return os.getpid()


def test_items_come_in_order_and_the_process_is_used_again() -> None:
    child = ChildProcess()
    assert list(child.items(count, 3)) == [0, 1, 2]
    assert list(child.items(count, 1)) == [0]
    child.kill()


def test_errors_come_as_they_are_raised_and_ends_are_told() -> None:
    with pytest.raises(DataError, match="a sentence") as raised:
        run_in_child(fail)
    assert "in fail" in raised.value.__notes__[0]
    with pytest.raises(ChildDiedError) as died:
        run_in_child(die)
    assert died.value.exit_code == -signal.SIGKILL
    with pytest.raises(TimeoutError):
        run_in_child(time.sleep, 60, seconds=0.2)


def start_work(said: Connection) -> None:
    child = ChildProcess()
    items = child.items(pid_then_sleep)
    said.send(next(items))
    said.recv()


def pid_then_sleep() -> Iterator[int]:
    yield own_pid()
    time.sleep(120)


def test_a_killed_parent_leaves_no_process() -> None:
    here, there = multiprocessing.Pipe()
    parent = multiprocessing.get_context("spawn").Process(target=start_work, args=(there,))
    parent.start()
    assert here.poll(60)
    child = here.recv()
    parent.kill()
    parent.join()
    until(lambda: not is_alive(child))


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # in a container nobody may wait for it

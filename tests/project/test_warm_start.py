"""The processes that tests start by a fork are like those that Python starts."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import warm_start
from journal_support import until
from sporeprint.common.child_process import ChildDiedError, ChildProcess, run_in_child
from warm_start import Warm

PYTHON = [sys.executable, "-c"]
#: What a process can know of itself, but for its number.
ITSELF = """
import json, os, signal, sys, threading
print(json.dumps({
    "arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ), "first path": sys.path[0], "main": __name__,
    "streams": [[stream.encoding, stream.errors, stream.line_buffering, stream.name] for stream in (sys.stdin, sys.stdout, sys.stderr)],
    "warnings": sys.warnoptions, "threads": threading.active_count(),
    "open": sorted(os.listdir("/proc/self/fd"))[:3], "umask": os.umask(0),
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)],
    "session": os.getsid(0) == os.getpid(), "said": sys.stdin.read(),
}))
print("an error", file=sys.stderr)
sys.exit(7)
"""
RUNS: list[Any] = [subprocess.run, warm_start.run]


@pytest.mark.parametrize("more", [{}, {"start_new_session": True}, {"env": {"A": "ß", "PYTHONWARNINGS": "ignore,default"}}])
def test_it_knows_the_same_of_itself(more: dict[str, Any], tmp_path: Path) -> None:
    given: dict[str, Any] = {"input": "hello", "capture_output": True, "text": True, "cwd": tmp_path, **more}
    # Named in any case: what C has put into this process's environment, as readline does, only the one would pass on.
    given["env"] = {**os.environ, **given.get("env", {})}
    cold, warm = (run([*PYTHON, ITSELF, "a b", "--c"], **given) for run in RUNS)
    assert (warm.returncode, warm.stderr) == (cold.returncode, cold.stderr) == (7, "an error\n")
    assert json.loads(warm.stdout) == json.loads(cold.stdout)


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "raise SystemExit('why')",
        "raise SystemExit(300)",
        "1 / 0",
        "import os; os._exit(9)",
        "import os; os.abort()",
        "import atexit; atexit.register(print, 'last'); print('first')",
        "import threading, time; threading.Thread(target=lambda: [time.sleep(0.1), print('late')]).start(); print('early')",
        "import sys; sys.stdout.write('not flushed')",
        "import sporeprint.cli.app; print(sporeprint.cli.app.run(['version', '--json']))",
    ],
)
def test_it_ends_as_it_would(code: str) -> None:
    cold, warm = (run([*PYTHON, code], capture_output=True, text=True) for run in RUNS)
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout)
    assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_it_is_polled_waited_for_and_killed() -> None:
    with Warm([*PYTHON, "import time; time.sleep(100)"]) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        process.kill()
        assert process.wait() == process.poll() == -signal.SIGKILL
    with Warm([*PYTHON, "import time; print(1, flush=True); time.sleep(100)"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM


def test_many_at_once_are_told_apart() -> None:
    processes = [Warm([*PYTHON, f"import sys, time; time.sleep(0.1); sys.exit({number})"]) for number in range(20)]
    assert [process.wait(60) for process in processes] == list(range(20))


def test_what_a_fork_cannot_follow_is_started_by_python() -> None:
    code = "import sys; print(sys.flags.hash_randomization, 'polars' in sys.modules)"
    done = warm_start.run([*PYTHON, code], env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0 False\n")
    assert warm_start.run([*PYTHON, "import sys; print('polars' in sys.modules)"], capture_output=True, text=True).stdout == "True\n"


def test_nothing_is_left_when_who_started_it_is_gone() -> None:
    process = Warm([*PYTHON, "import time; time.sleep(100)"])
    assert process._connection is not None
    process._connection.close()  # as the end of the process does that has it
    until(lambda: not Path(f"/proc/{process.pid}").exists(), 10)
    process.returncode = -signal.SIGKILL  # for its warning that nobody has waited


# --- for other programs --------------------------------------------------------------------------------------------------


def test_a_program_hands_over_its_arguments_and_its_end(tmp_path: Path) -> None:
    program = warm_start.program(tmp_path)
    for words, code in ((["version"], 0), (["versin"], 2)):
        real, stands_for = (subprocess.run([path, *words], capture_output=True, text=True) for path in (warm_start.PROGRAM, program))
        assert (stands_for.returncode, stands_for.stdout, stands_for.stderr) == (real.returncode, real.stdout, real.stderr)
        assert real.returncode == code


# --- the processes of multiprocessing ------------------------------------------------------------------------------------


def modules() -> Iterator[list[str]]:
    yield sorted(sys.modules)


def parent() -> int:
    return os.getppid()


def test_children_have_loaded_everything_and_die_as_they_did() -> None:
    warm_start.begin()
    child = ChildProcess()
    ((loaded,),) = [list(child.items(modules))]
    assert {"sklearn", "sporeprint.cli.app"} <= set(loaded)
    child.kill()
    with pytest.raises(ChildDiedError) as died:
        run_in_child(os._exit, 5)
    assert died.value.exit_code == 5
    with pytest.raises(ChildDiedError) as died:
        run_in_child(os.abort)
    assert died.value.exit_code == -signal.SIGABRT
    with pytest.raises(TimeoutError):
        run_in_child(signal.pause, seconds=0.1)


def test_a_pool_shares_its_queues() -> None:
    warm_start.begin()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(abs, range(-20, 0), chunksize=3)) == list(range(20, 0, -1))
        assert pool.submit(parent).result() != os.getpid()


@pytest.mark.parametrize("options", ["", "ignore", "ignore,default"])
def test_what_it_starts_itself_has_the_same_parent(options: str) -> None:
    code = "import os; from sporeprint.common.child_process import run_in_child; print(run_in_child(os.getppid) == os.getppid())"
    done = warm_start.run([*PYTHON, code], env={**os.environ, "PYTHONWARNINGS": options}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")

"""Programs of the project as processes of their own, without the second or two in which Python loads what they need.

`Warm` and `run` stand in for `subprocess.Popen` and `subprocess.run` where a test is not about the start itself. The process is a real
one, with its own arguments, environment, folder, streams and exit code, and runs the real program; but it is a fork of a program that
has loaded the libraries already (`warm_starter.py`). Its parent is that program, and so is its command
line in `/proc`.

Started as always, by `subprocess`: what is about the modules that are loaded, memory, threads, command lines or clocks.
"""

import fcntl
import json
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

PROGRAM = Path(sys.executable).with_name("sporeprint")
STARTER = Path(__file__).with_name("warm_starter.py")
#: What Python reads when it starts, and libraries when they are loaded; so a fork would not follow it.
READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "OMP_", "GOMP_", "OPENBLAS_", "FAKETIME")
FOLLOWED = {"PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE"}


@cache
def begin() -> str:
    """The socket of the program that starts others: one for all processes of pytest, made by the first that needs it.

    It ends with the pytest that was called. From then on, processes of `multiprocessing` are started by it, too.
    """
    pytest = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"warm-{os.getuid()}-{pytest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    place = str(folder / "socket")
    with (folder / "lock").open("a") as lock, socket.socket(socket.AF_UNIX) as attempt:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if attempt.connect_ex(place):
            Path(place).unlink(missing_ok=True)
            environ = {name: os.environ[name] for name in {"PATH", "HOME", "TMPDIR", *_read_at_start(os.environ)} & set(os.environ)}
            read, write = os.pipe()
            # Not by subprocess: nobody waits for its end.
            streams = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, write, 1)]
            command = [sys.executable, str(STARTER), place, str(pytest)]
            os.posix_spawn(sys.executable, command, environ, file_actions=streams, setsid=True)
            os.close(write)
            with open(read, encoding="utf-8") as said:  # noqa: PTH123 -- a descriptor
                assert said.readline() == "ready\n"
            _handing_over(folder / "python", [], place)
    multiprocessing.set_executable(str(folder / "python"))
    return place


def _read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(READ_AT_START) and name not in FOLLOWED}


class Warm(subprocess.Popen[Any]):
    """`subprocess.Popen` for `[sys.executable, "-m", "sporeprint", ...]`, `[sys.executable, "-c", code, ...]` and `[program, ...]`.

    What a fork cannot follow is started as always.
    """

    _connection: socket.socket | None = None
    # Of subprocess, which names them nowhere.
    _waitpid_lock: Lock
    _handle_exitstatus: Callable[[int], None]

    def _execute_child(self, args: Any, *given: Any) -> None:
        executable, preexec_fn, _, pass_fds, cwd, env, _, _, shell, *pipes, _, gid, gids, uid, umask, new_session, process_group = given
        special = (
            executable,
            preexec_fn,
            pass_fds,
            shell,
            gid is not None,
            gids is not None,
            uid is not None,
            umask != -1,
            process_group != -1,
        )
        environ = dict(os.environ if env is None else env)
        if any(special) or not hasattr(os, "pidfd_open") or _read_at_start(environ) != _read_at_start(os.environ):
            super()._execute_child(args, *given)  # type: ignore[misc]  # the place where subprocess starts it
            return
        words = [os.fsdecode(word) for word in args]
        arguments = words[1:] if words[0] == sys.executable else words
        job = {
            "arguments": arguments,
            "env": environ,
            "cwd": os.fspath(cwd or Path.cwd()),
            "new_session": new_session,
            "descriptors": [0, 1, 2],
        }
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = pipes
        theirs, mine = (p2cread, c2pwrite, errwrite), (p2cwrite, c2pread, errread)
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(begin())
            streams = [own if stream == -1 else stream for own, stream in enumerate(theirs)]
            socket.send_fds(self._connection, [json.dumps(job).encode() + b"\n"], streams)
            self.pid = self._number()
            self._child_created = True
        except BaseException:
            self._connection.close()
            raise
        finally:
            for stream in {stream for stream, end in zip(theirs, mine, strict=True) if end != -1} | {getattr(self, "_devnull", -1)}:
                if stream != -1:
                    os.close(stream)

    def _number(self) -> int:
        """What the starter says next: the number of the process, and then how it ended."""
        assert self._connection is not None
        line = b""
        while not line.endswith(b"\n"):
            read = self._connection.recv(1)
            assert read, "the program that starts others is gone"
            line += read
        return int(line)

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._connection is None:
            return super()._try_wait(flags)  # type: ignore[misc, no-any-return]
        if flags & os.WNOHANG and not select.select([self._connection], [], [], 0)[0]:
            return 0, 0
        status = self._number()
        self._connection.close()
        return self.pid, status

    def _internal_poll(self, *given: Any, **named: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*given, **named)  # type: ignore[misc, no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def run(command: list[Any], **given: Any) -> "subprocess.CompletedProcess[Any]":
    """`subprocess.run` with `Warm`."""
    content, timeout, check = given.pop("input", None), given.pop("timeout", None), given.pop("check", False)
    if content is not None:
        given["stdin"] = subprocess.PIPE
    if given.pop("capture_output", False):
        given |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Warm(command, **given) as process:
        try:
            out, err = process.communicate(content, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


#: Hands a command over to the starter, lets it have the signals that come, and ends as the process does. As the interpreter of
#: `multiprocessing` it does so with the processes that work, and not with the one that tracks their resources.
HANDS_OVER = """#!{python} -IS
import json, os, signal, socket, sys
arguments, descriptors = {before!r} + sys.argv[1:], [0, 1, 2]
if not {before!r}:
    if arguments[0] == "-B":  # write no byte code
        del arguments[0]
    warnings = ["-W" + option for option in os.environ.get("PYTHONWARNINGS", "").split(",") if option]
    if arguments[: len(warnings)] == warnings:  # a fork takes them from the variable
        del arguments[: len(warnings)]
    if arguments[0] != "-c" or "spawn_main" not in arguments[1]:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    with os.scandir("/proc/self/fd") as found:
        descriptors += [int(each.name) for each in found if int(each.name) > 2 and not os.readlink(each.path).endswith("/fd")]
here = socket.socket(socket.AF_UNIX)
here.connect({place!r})
job = dict(arguments=arguments, env=dict(os.environ), cwd=os.getcwd(), new_session=False, descriptors=descriptors)
socket.send_fds(here, [json.dumps(job).encode() + b"\\n"], descriptors)
for descriptor in descriptors[3:]:
    os.close(descriptor)
said = here.makefile()
pid = int(said.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
code = os.waitstatus_to_exitcode(int(said.readline()))
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def program(folder: Path) -> Path:
    """A program that stands for `sporeprint` where another program starts it."""
    return _handing_over(folder / "sporeprint", [str(PROGRAM)], begin())


def _handing_over(path: Path, before: list[str], place: str) -> Path:
    path.write_text(HANDS_OVER.format(python=sys.executable, place=place, before=before), encoding="utf-8")
    path.chmod(0o755)
    return path

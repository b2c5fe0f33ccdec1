"""The commands and programs of a page, run as they stand."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "localhost:8000"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def run_block(block: str, folder: Path, port: int | None, env: Mapping[str, str] | None = None) -> str:
    """Run a block of commands in a folder; every one of them has to succeed, and curl to be answered with a status below 400."""
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    here = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPOREPRINT_")},
        "CURL_HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_PROXY": "*",
        **(env or {}),
    }
    block = block.replace(ADDRESS, f"localhost:{port}")
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


#: What stands for `sporeprint` in a script: the process of the tests, which has loaded its libraries already, does the command. A server
#: is a process of its own.
SHIM = f"""#!{sys.executable} -IS
import json, os, socket, sys
if sys.argv[1] == "serve":
    os.execv({str(Path(sys.executable).with_name("sporeprint"))!r}, sys.argv)
with socket.socket(socket.AF_UNIX) as here:
    here.connect(os.environ["COMMANDS"])
    environ = {{name: value for name, value in os.environ.items() if name.startswith("SPOREPRINT_")}}
    here.sendall(json.dumps([sys.argv[1:], os.getcwd(), environ]).encode() + b"\\n")
    code, out, err = json.load(here.makefile())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(0 if "ALARM_IS_AN_ANSWER" in os.environ and sys.argv[1] == "monitor" and code in (10, 11) else code)
"""


def run_script(script: str, folder: Path, tools: Path, environ: Mapping[str, str], out: IO[str], err: IO[str], timeout: float = 420) -> int:
    """Run a script of bash in a folder; its exit code. Whatever it leaves running is killed.

    `tools` is a folder of its own for what the script's commands need; `out` and `err` are files.
    """
    (tools / "sporeprint").write_text(SHIM)
    (tools / "sporeprint").chmod(0o755)
    place = tools / "socket"
    paths = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    here = {name: value for name, value in os.environ.items() if not name.startswith("SPOREPRINT_")}
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX) as commands:
        commands.bind(str(place))
        commands.listen()
        commands.settimeout(0.05)
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**here, **environ, "PATH": paths, "COMMANDS": str(place)},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                assert time.monotonic() < end, f"the script has not ended after {timeout} s"
                with contextlib.suppress(TimeoutError):
                    _answer(commands.accept()[0])
        finally:
            with contextlib.suppress(ProcessLookupError):  # the shell and what it started have a group of their own
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            place.unlink()
    return process.returncode


def _answer(asked: socket.socket) -> None:
    """Run one command as its process would, but for the start of Python."""
    from sporeprint.cli import app  # loads the command line, which most tests with blocks do not need

    with asked, asked.makefile("rw", encoding="utf-8") as line, pytest.MonkeyPatch.context() as patch:
        arguments, folder, environ = json.loads(line.readline())
        patch.chdir(folder)
        for variable, value in environ.items():
            patch.setenv(variable, value)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = app.run(arguments)
        line.write(json.dumps([code, out.getvalue(), err.getvalue()]))

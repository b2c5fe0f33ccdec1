"""A terminal of 80 columns and 24 lines, in which a test runs a program."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

LINES, COLUMNS = 24, 80


def in_a_terminal(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> tuple[int, str]:
    """Run a program in the terminal; its exit code, and all that it wrote there."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    environ.update({"TERM": "xterm", **(env or {})})
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ, cwd=cwd, close_fds=True)
    os.close(its)
    written = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal open any more
        while chunk := os.read(mine, 65536):
            written += chunk
    os.close(mine)
    return process.wait(), written.decode().replace("\r\n", "\n")

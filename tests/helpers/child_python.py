"""Python code in processes of their own."""

import subprocess
from collections.abc import Callable

Start = Callable[[str], "subprocess.Popen[str]"]


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()

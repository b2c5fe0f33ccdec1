"""What the tests of common files and locks share."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from child_python import Start


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code in a process of its own; it is ended with the test."""
    running = []

    def _start(code: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield _start
    for process in running:
        process.kill()
        process.communicate()

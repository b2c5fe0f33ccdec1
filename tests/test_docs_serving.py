"""Every curl line of docs/serving.md and of the README's part on HTTP, against a real server."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving_support import Server, start_server, write_config

ROOT = Path(__file__).resolve().parents[1]


def lines() -> list[str]:
    """The curl commands of the pages, a line each."""
    found = []
    for page in ("docs/serving.md", "README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            found += [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("curl ")]
    return found


@pytest.fixture(scope="module")
def server(_small_run: Path, _small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("docs") / "work"
    shutil.copytree(_small_run / "models", root / "models")
    server = start_server(root, write_config(_small, root / "config.yaml"))
    yield server
    server.end()


def programs() -> list[str]:
    """The Python programs of the page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_some() -> None:
    assert len(lines()) >= 7
    assert programs()


@pytest.mark.parametrize("line", lines())
def test_it_runs(line: str, server: Server) -> None:
    command = shlex.split(line.replace("localhost:8000", f"localhost:{server.client.base_url.port}"))
    done = subprocess.run(
        [*command, "--silent", "--show-error", "--write-out", "\n%{http_code}"], capture_output=True, text=True, check=True
    )
    body, _, status = done.stdout.rpartition("\n")
    assert status in ("200", "201"), body


@pytest.mark.parametrize("program", programs())
def test_the_program_runs(program: str, server: Server) -> None:
    code = program.replace("http://localhost:8000", str(server.client.base_url))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3

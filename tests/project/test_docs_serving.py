"""Every block with curl and every program of docs/serving.md, against a real server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from docs_support import blocks, run_block
from serving_support import Server, start_server, write_config
from sporeprint.registry.registry import Registry

PAGE = "docs/serving.md"
COMMANDS = [block for block in blocks(PAGE, "bash") if "curl " in block]
PROGRAMS = blocks(PAGE, "python")


@pytest.fixture(scope="module")
def server(_small_run: Path, _small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("docs") / "work"
    shutil.copytree(_small_run, root)
    # The page promotes the tree and goes back: so another one serves before, whichever was the best of so few rows.
    Registry(root / "models/registry").set_production("xgboost", reason="test", now=datetime.now(UTC))
    server = start_server(root, write_config({**_small, "gate": {"margin": 0.99}}, root / "config.yaml"))
    yield server
    server.end()


def test_there_are_some() -> None:
    assert sum(block.count("curl ") for block in COMMANDS) >= 14
    assert len(PROGRAMS) == 2


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.split("\n")[0][:40])
def test_it_runs(block: str, server: Server, tmp_path: Path) -> None:
    said = run_block(block, tmp_path, server.client.base_url.port)
    if "answers.parquet" in block:
        assert pl.read_parquet(tmp_path / "answers.parquet").height == 2
        assert "verdict" in said
    if "seen.csv" in block:
        # What was said first was corrected by the file.
        assert json.loads(said.replace("}{", "}\n{").splitlines()[-1])["outcome"]["source"] == "second laboratory"


@pytest.mark.parametrize("program", PROGRAMS, ids=("waits", "awaits"))
def test_the_program_runs(program: str, server: Server) -> None:
    code = program.replace("http://localhost:8000", str(server.client.base_url))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3

"""Every command of docs/security.md, over a real server: the keys that it makes are asked for, and let in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from docs_support import ROOT, blocks, run_block
from free_ports import free_port
from journal_support import until
from serving_support import Server, start_server, write_config

KEYS, REQUESTS, CONTAINER = blocks("docs/security.md", "bash")


@pytest.fixture
def folder(_small_run: Path, _small: dict[str, Any], tmp_path: Path) -> Path:
    root = tmp_path / "work"
    shutil.copytree(_small_run / "models", root / "models")
    (root / "config").mkdir()
    write_config(_small, root / "config/config.yaml")
    return root


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = start_server(folder, folder / "config/config.yaml")
    yield server
    server.end()


def key_in(said: str) -> str:
    return next(word for word in said.split() if word.startswith("spk_"))


def test_keys_are_made_used_and_revoked(server: Server, folder: Path) -> None:
    port = server.client.base_url.port
    assert server.client.get("/models").status_code == 200  # nobody has a key yet
    said = run_block(KEYS, folder, port)
    shop, ops = (word for word in said.split() if word.startswith("spk_") and len(word) > 50)
    until(lambda: server.client.get("/models").status_code == 401, 10)
    assert server.client.get("/models", headers={"X-API-Key": ops}).status_code == 200
    assert server.client.post("/predict", json={}, headers={"X-API-Key": ops}).status_code == 403
    # The page revokes it at the end.
    until(lambda: server.client.post("/predict", json={}, headers={"X-API-Key": shop}).status_code == 401, 10)
    own = key_in(run_block("sporeprint keys create --name both --role predict --role read", folder, port))
    until(lambda: server.client.get("/models", headers={"X-API-Key": own}).status_code == 200, 10)
    answers = run_block(REQUESTS, folder, port, {"SPOREPRINT_API_KEY": own})
    assert "verdict" in answers
    assert "serving" in answers


def test_a_container_begins_with_the_key_of_a_file(folder: Path) -> None:
    port = free_port()
    # Loopback in the place of every address: a test is no server for the neighbours.
    command = CONTAINER.replace("--host 0.0.0.0", f"--host 127.0.0.1 --port {port}")
    assert command != CONTAINER
    make, serve = command.strip().splitlines()
    run_block(make, folder, port)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    variable, _, rest = serve.partition(" ")
    process = subprocess.Popen(rest.split(), cwd=folder, env={**env, **dict([variable.split("=")])}, stderr=subprocess.PIPE, text=True)
    server = Server(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
    try:
        server.wait()
        key = (folder / "first-key").read_text().strip()
        assert server.client.get("/models").status_code == 401
        assert server.client.get("/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert server.client.post("/predict", json={}, headers={"X-API-Key": key}).status_code == 200
    finally:
        server.end()


def test_the_table_of_roles_is_the_services() -> None:
    from sporeprint.model_serving.api import ROUTES
    from sporeprint.model_serving.http.authentication import REQUIRED_ROLES

    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = dict(line.strip("| ").split(" | ", 1) for line in page.splitlines() if line.startswith("| `"))
    for route in ROUTES:
        path, name = route.path, route.name
        role = REQUIRED_ROLES[name]
        if role is not None and not ("GET" in (route.methods or ()) and path.startswith("/ab-tests/")):
            assert f"{path.replace('{prediction_id}', '{id}')}`" in rows[f"`{role.value}`"], (name, role)

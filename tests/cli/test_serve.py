"""`sporeprint serve`: what it refuses before it starts. What it serves: tests/model_serving."""

import json
from pathlib import Path

import pytest

from sporeprint.cli import app as cli


def serve(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = cli.run(["serve", "--json", *options])
    return code, json.loads(capsys.readouterr().out)["error"]["message"]


def test_without_a_model_it_says_what_makes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], config_file: Path) -> None:
    code, message = serve(capsys, "--workdir", str(tmp_path), "--config", str(config_file))
    assert code == 5
    assert "no version is in production yet" in message
    assert "sporeprint etl makes a model and puts the best one into production" in message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_without_keys_it_listens_to_this_machine_only(tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str) -> None:
    code, message = serve(capsys, "--workdir", str(tmp_path), "--host", host)
    assert code == 2
    assert f"--host {host}: there are no API keys, so that everybody" in message
    assert "make one first: sporeprint keys create --name NAME --role predict" in message
    assert "expected one of 127.0.0.1, ::1, localhost" in message


def test_a_port_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = serve(capsys, "--workdir", str(tmp_path), "--port", "0")
    assert code == 2
    assert "Invalid value for '--port'" in message

"""`sporeprint keys` as it is called."""

import json
from pathlib import Path
from typing import Any

import pytest

from sporeprint.cli import app as cli


@pytest.fixture
def call(tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, Any]:
        code = cli.run(["keys", *words, "--json", "--workdir", str(tmp_path), "--config", str(config_file)])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_key_is_made_listed_and_revoked(call: Any) -> None:
    assert call("list") == (0, {"keys": []})
    code, made = call("create", "--name", "shop", "--role", "predict", "--role", "label", "--expires", "30")
    assert (code, made["roles"], made["expires_us"] - made["created_us"]) == (0, ["label", "predict"], 30 * 86_400_000_000)
    assert made["key"].startswith(f"spk_{made['key_id']}_")
    code, found = call("list")
    assert [key["name"] for key in found["keys"]] == ["shop"]
    assert made["key"].rsplit("_", 1)[1] not in json.dumps(found)
    assert call("revoke", "shop")[1]["revoked"] is True
    assert call("list")[1] == {"keys": []}
    assert call("list", "--revoked")[1]["keys"][0]["revoked_us"] > 0


def test_for_people(tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--workdir", str(tmp_path), "--config", str(config_file)]
    assert cli.run(["keys", "create", "--name", "shop", "--role", "predict", *place]) == 0
    assert "shown this once" in capsys.readouterr().out
    assert cli.run(["keys", "list", *place]) == 0
    assert "shop" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "--name", "shop", "--role", "fly"), "there is no role 'fly'; choose from predict, label, operate, read"),
        (("create", "--name", "a/b", "--role", "read"), "'a/b' is no name of a key"),
        (("create", "--name", "shop"), "Missing option '--role'"),
        (("create", "--name", "shop", "--role", "read", "--expires", "0"), "Invalid value for '--expires'"),
        (("revoke", "shop"), "there is no key 'shop'; there are: none"),
    ],
)
def test_what_cannot_be(call: Any, words: tuple[str, ...], says: str) -> None:
    code, found = call(*words)
    assert code == 2
    assert says in found["error"]["message"]

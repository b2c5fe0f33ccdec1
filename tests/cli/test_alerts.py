"""`sporeprint alerts`, as people call it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channel_server import Hook, hooked
from serving_support import write_config
from sporeprint import settings
from sporeprint.cli import app as cli
from sporeprint.pipelines import alerting as alerts

EVALUATION = {
    "stream": "xgboost/v1",
    "model": "xgboost/v1",
    "current": "now",
    "reference": "then",
    "alarms": ["season: the shares of values changed"],
    "not_computed": [],
}
Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def call(small_config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command, over a work directory with one channel that is dead."""
    hook = Hook(9)  # nobody listens there
    config = {**small_config, "alerts": {"channels": {"oncall": {"url": hook.url}}, "attempts": 1}}
    place = ["--workdir", str(tmp_path), "--config", str(write_config(config, tmp_path / "config.yaml"))]
    alerts.handle(settings.parse(config), tmp_path, EVALUATION)

    def run(*words: str, text: bool = False) -> tuple[int, Any]:
        code = cli.run(["alerts", *words, *([] if text else ["--json"]), *place])
        said = capsys.readouterr().out
        return code, said if text else json.loads(said)

    return run


def test_listed_and_acknowledged(call: Call) -> None:
    code, found = call("list")
    assert code == 0
    assert [(each["severity"], each["status"]) for each in found["alerts"]] == [("critical", "raised"), ("warning", "raised")]
    (late,) = found["not_delivered"]
    assert (late["channel"], late["status"], late["attempts"]) == ("oncall", "given up", 1)
    assert "secret-word" not in json.dumps(found)
    drift = found["alerts"][1]["alert_id"]
    assert call("ack", drift, "--note", "on it") == (0, {"acknowledged": [drift]})
    assert len(call("ack", "--all")[1]["acknowledged"]) == 2
    assert {each["status"] for each in call("list", "--all")[1]["alerts"]} == {"acknowledged"}
    assert call("deliver") == (0, {"done": []})


def test_for_people(call: Call) -> None:
    said = call("list", text=True)[1]
    assert "season: the shares" in " ".join(said.split())
    assert "Messages that did not arrive" in said


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["ack"], 2, "name one alert, or say --all"),
        (["ack", "nope"], 2, "there is no alert 'nope'"),
        (["ack", "nope", "--all"], 2, "name one alert, or say --all"),
        (["test", "onkall"], 2, "did you mean 'oncall'"),
        (["test", "oncall"], 75, "did not take the message"),
    ],
)
def test_what_cannot_be(call: Call, words: list[str], exit_code: int, says: str) -> None:
    code, found = call(*words)
    assert code == exit_code
    assert says in found["error"]["message"]


def test_a_channel_is_tried(small_config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hooked() as hook:
        config = write_config({**small_config, "alerts": {"channels": {"oncall": {"url": hook.url}}}}, tmp_path / "config.yaml")
        assert cli.run(["alerts", "test", "oncall", "--workdir", str(tmp_path), "--config", str(config)]) == 0
    assert "took the message" in capsys.readouterr().out
    assert hook.got[0]["title"] == "[test] sporeprint"

"""`sporeprint ab-test` as it is called."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving_support import write_config
from sporeprint.cli import app as cli
from sporeprint.cli.ab_test import _FIELDS
from sporeprint.messages.ab_tests import AbTestFields
from sporeprint.messages.base import descriptions

TWO = ("--model-a", "xgboost", "--model-b", "logistic_regression/v1")


@pytest.fixture
def place(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> list[str]:
    return ["--workdir", str(small_copy), "--config", str(write_config(small_config, tmp_path / "config.yaml"))]


@pytest.fixture
def call(place: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    def run(*words: str) -> tuple[int, Any]:
        code = cli.run(["ab-test", *words, "--json", *place])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_test_from_the_first_call_to_the_last(call: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    assert call("list") == (0, {"tests": []})
    assert call("evaluate") == (0, {"tests": []})
    code, made = call(
        "create",
        "--name",
        "first",
        *TWO,
        "--split",
        "0.2",
        "--alpha",
        "0.01",
        "--option",
        "also=[latency]",
        "--latency-limit-ms",
        "50",
    )
    assert (code, made["status"], made["traffic_split"], made["design"]["alpha"]) == (0, "running", 0.2, 0.01)
    assert call("create", "--name", "second", *TWO, "--mode", "shadow")[1]["unit"] == "prediction"
    assert [test["name"] for test in call("list", "--status", "running")[1]["tests"]] == ["second", "first"]
    assert call("show", "first")[1]["interim_analysis"]["units"] == 0
    assert {each["decision"]["verdict"] for each in call("evaluate")[1]["tests"]} == {"continue"}
    assert call("disagreements", "second") == (0, {"disagreements": []})
    page = tmp_path / "first.html"
    assert call("report", "first", "--out", str(page)) == (0, {"out": str(page)})
    assert "Nothing has been counted yet" in page.read_text(encoding="utf-8") or "Keep going" in page.read_text(encoding="utf-8")
    assert call("conclude", "first")[1]["verdict"] == "inconclusive"
    code, found = call("conclude", "first")
    assert code == 2
    assert "concluded already" in found["error"]["message"]


def test_for_people(place: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said, out = [], tmp_path / "first.html"
    for words in (
        ["create", "--name", "first", *TWO],
        ["list"],
        ["show", "first"],
        ["evaluate"],
        ["disagreements", "first"],
        ["conclude", "first", "--winner", "A", "--reason", "enough seen"],
        ["list"],
        ["show", "first"],
        ["report", "first", "--out", str(out)],
    ):
        assert cli.run(["ab-test", *words, *place]) == 0
        said.append(capsys.readouterr().out)
    assert "50.00% of the units go to B" in said[0]
    assert "Keep going" in said[2]
    assert "no label is wanted" in said[4]
    assert "By hand" in said[5]
    assert "concluded" in said[6]
    page = out.read_text(encoding="utf-8")
    for ended in (said[5], said[7], page):
        assert "Ended by hand before its rule had decided: " in ended
    assert "<h1><span>Concluded by hand, against the rule: A stays." in page
    assert "how it ended" in said[7]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "--name", "x", *TWO, "--split", "1"), "traffic_split is 1.0"),
        (("create", "--name", "x", *TWO, "--option", "alpha"), "expected field=value"),
        (("create", "--name", "x", *TWO, "--option", "alhpa=1"), "did you mean 'alpha'"),
        (("create", "--name", "x", *TWO, "--option", "also=[a"), "is not a value"),
        (("create", "--name", "x", *TWO, "--metric", "latency"), "has given 0 answers (at least 100 are needed)"),
        (("create", "--name", "x", *TWO, "--metric", "latency", "--latency-limit-ms", "0"), "latency_limit_ms is 0.0"),
        (("create", "--name", "x", *TWO, "--metric", "latency", "--latency-limit-ms", "nan"), "latency_limit_ms is nan"),
        (("create", "--name", "x", *TWO, "--option", "costs={false_negative: -1}"), "costs.false_negative is -1"),
        (("create", "--name", "x", *TWO, "--option", "costs={false_positive: .nan}"), "costs.false_positive is nan"),
        (("create", "--name", "x", *TWO, "--option", "costs={false_negative: 0, false_positive: 0, unknown: 0}"), "are all 0"),
        (("create", "--name", "x", *TWO, "--labels", "random"), "label_share is None"),
        (("create", "--name", "x", *TWO, "--labels", "random", "--label-share", "0"), "label_share is 0.0"),
        (("create", "--name", "x", *TWO, "--labels", "reports", "--margin", "0.01"), "labels 'reports'"),
        (("create", "--name", "x", *TWO, "--labels", "reports", "--mode", "shadow"), "labels is 'reports' in shadow mode"),
        (("create", "--name", "x", *TWO, "--mode", "shadow", "--expect", "b"), "expect is 'b' in shadow mode"),
        (("create", "--name", "x", *TWO, "--option", "min_units=0", "--max-units", "3"), "max_units is 3: this test cannot name a winner"),
        (("show", "nope"), "there is no A/B test 'nope'"),
        (("conclude", "nope", "--winner", "C"), "winner is 'C'"),
        (("rollback", "nope"), "there is no A/B test 'nope'"),
        (("list", "--status", "going"), "allowed: running, concluded"),
    ],
)
def test_what_cannot_be(call: Callable[..., tuple[int, Any]], words: tuple[str, ...], says: str) -> None:
    code, found = call(*words)
    assert code == 2
    assert says in found["error"]["message"]


def test_a_horizon_that_is_too_short_is_not_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ab-test", "simulate", "--rate-a", "0.01", "--rate-b", "0.02", "--option", "max_units=3"]) == 2
    assert "max_units is 3: this test cannot name a winner by then" in capsys.readouterr().err


def test_a_promotion_is_taken_back(call: Callable[..., tuple[int, Any]], place: list[str]) -> None:
    place += ["--set", "gate.margin=0.99"]
    call("create", "--name", "first", "--model-a", "decision_tree", "--model-b", "xgboost")
    ended = call("conclude", "first", "--winner", "B", "--reason", "a try")[1]
    happened = [event["event"] for event in ended["events"]]
    if ended["events"][-1]["details"].get("production_before") == "xgboost/v1":  # it served before
        assert happened == ["created", "concluded", "promoted"]
        call("create", "--name", "second", *TWO[:3], "decision_tree")
        call("conclude", "second", "--winner", "B", "--reason", "a try")
        assert call("rollback", "second") == (0, {"production": "xgboost/v1"})
    else:
        before = ended["events"][-1]["details"]["production_before"]
        assert call("rollback", "first") == (0, {"production": before})


def plain(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.run(["ab-test", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_before_a_test(capsys: pytest.CaptureFixture[str]) -> None:
    rates = ("--rate-a", "0.01", "--rate-b", "0.005")
    found = plain(capsys, "plan", *rates, "--shared", "0.004", "--mode", "shadow", "--units-a-day", "1000")
    assert found["median_labels"] <= 15
    assert found["days"] == pytest.approx(found["units"] / 1000)
    found = plain(capsys, "simulate", "--rate-a", "0.01", "--rate-b", "0.01", "--units", "2000", "--tests", "200")
    assert (found["tests"], found["keeps"]) == (200, True)
    assert cli.run(["ab-test", "plan", *rates]) == 0
    assert "What the test will need" in capsys.readouterr().out
    assert cli.run(["ab-test", "simulate", *rates, "--units", "500", "--tests", "50"]) == 0
    assert "error rates controlled" in capsys.readouterr().out


def test_every_field_of_a_test_has_an_option_that_says_what_the_message_says() -> None:
    assert set(_FIELDS) | {"name", "model_a", "model_b", "traffic_split"} == set(AbTestFields.model_fields)
    words = descriptions(AbTestFields)
    assert {field: text.casefold() for field, (_, text) in _FIELDS.items() if field != "mode"} == {
        field: words[field].casefold() for field in _FIELDS if field != "mode"
    }

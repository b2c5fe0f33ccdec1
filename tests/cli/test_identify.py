"""The dialogue in the terminal: words, numbers, back, cannot tell, and an end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sporeprint.cli.identify import Dialogue, choice, dialogue
from sporeprint.inference.model_bundle import Bundle
from sporeprint.registry.registry import Registry


@pytest.fixture(scope="module")
def bundle(small_run: Path) -> Bundle:
    return Registry(small_run / "models/registry").load("xgboost/v1")


def talk(bundle: Bundle, *lines: str) -> tuple[str, list[str]]:
    """What a dialogue with these answers ends with, and all that it showed."""
    given: Iterator[str] = iter(lines)
    shown: list[str] = []
    result = dialogue(("xgboost/v1", bundle), {}, lambda: next(given, "q"), shown.append)
    return result.identification.verdict, shown


def test_it_ends_when_nothing_can_be_told(bundle: Bundle) -> None:
    verdict, shown = talk(bundle, *["-"] * 25)
    assert verdict == "unknown"
    assert any("One question at a time" in line for line in shown)


def test_a_wrong_answer_is_named_and_asked_again(bundle: Bundle) -> None:
    _, shown = talk(bundle, "zzzz", "q")
    assert any("'zzzz'" in line for line in shown)


def test_back_takes_the_last_answer_back(bundle: Bundle) -> None:
    _, shown = talk(bundle, "b", "-", "b", "?", "q")
    assert "There is nothing to take back." in shown
    assert any("bits about the class" in line for line in shown)


def test_it_fits_a_terminal_of_80_columns(bundle: Bundle) -> None:
    _, shown = talk(bundle, *(line for _ in range(20) for line in ("?", "-")))
    assert max(map(len, shown)) <= 80


def test_a_contradiction_with_the_last_answer_can_be_taken_back(bundle: Bundle) -> None:
    before = {"cap-shape": "x", "cap-color": "n", "season": "a", "has-ring": "f"}
    assert Dialogue(bundle, dict(before)).standing().contradictions == ()
    lines: Iterator[str] = iter(["b", "q"])
    shown: list[str] = []
    result = dialogue(("xgboost/v1", bundle), {**before, "ring-type": "g"}, lambda: next(lines), shown.append)
    assert "This contradicts itself: no ring, but a type of ring." in shown
    assert result.identification.contradictions == ()
    assert result.identification.observed == 4

    ended = dialogue(("xgboost/v1", bundle), {**before, "ring-type": "g"}, lambda: "", shown.append).identification
    assert (ended.verdict, ended.unknown) == ("unknown", "out_of_distribution")
    assert ended.contradictions == ("no ring, but a type of ring",)


def test_a_number_may_have_a_comma(bundle: Bundle) -> None:
    talk = Dialogue(bundle)
    assert talk.answer("cap-diameter", "8,5") is None
    assert talk.fields == {"cap-diameter": "8.5"}
    assert "expected a number of cm, got '8,5,1'" in (talk.answer("stem-height", "8,5,1") or "")


@pytest.mark.parametrize(("text", "code"), [("convex", "x"), ("x", "x"), ("3", "x"), ("conv", "x"), ("co", None), ("99", None), ("", None)])
def test_an_answer_is_a_word_a_code_a_number_or_a_beginning(text: str, code: str | None, bundle: Bundle) -> None:
    assert choice(text, "cap-shape", bundle.schema) == code

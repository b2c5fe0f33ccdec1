"""The dialogue in the terminal: words, numbers, back, cannot tell, and an end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sporeprint.cli.identify import choice, dialogue
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


@pytest.mark.parametrize(("text", "code"), [("convex", "x"), ("x", "x"), ("3", "x"), ("conv", "x"), ("co", None), ("99", None), ("", None)])
def test_an_answer_is_a_word_a_code_a_number_or_a_beginning(text: str, code: str | None, bundle: Bundle) -> None:
    assert choice(text, "cap-shape", bundle.schema) == code

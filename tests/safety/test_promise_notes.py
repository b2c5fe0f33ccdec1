"""Verdicts that are never given and promises that say nothing are said to be so; a promise that means something has no note."""

from dataclasses import replace
from typing import Any

from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.safety.promise_notes import promise_notes
from sporeprint.safety.risk_control import Threshold
from support import NUMERIC, dataset, some_safety

SCHEMA = dataset({"n": NUMERIC})
GOOD = Threshold(0.05, 0.001, 0.05, 4000, 0, "0 of 4,000", 0.01, positives=5000, rows=9100, units=9000, called_positive=4990)


def rule(**change: Any) -> DecisionRule:
    return replace(some_safety(SCHEMA), threshold=replace(GOOD, **change))


def test_a_promise_that_says_something_has_no_note() -> None:
    assert promise_notes(rule(), SCHEMA) == ()


def test_a_class_that_is_never_said() -> None:
    (negative,) = promise_notes(rule(value=None, reason="no threshold controls the risk"), SCHEMA)
    assert negative == "“edible” is never said: no threshold controls the risk."
    (positive,) = promise_notes(rule(called_positive=0), SCHEMA)
    assert positive.startswith("“poisonous” is hardly ever said: none of 9,000 rows")
    assert positive.endswith("though 5,000 of them are poisonous.")


def test_an_empty_promise() -> None:
    (note,) = promise_notes(rule(alpha=0.1, positives=360, missed=0.2), SCHEMA)
    assert "only 4.00% of all rows are poisonous, so always answering “edible” would keep it" in note
    assert "Set guard.alpha below 0.02." in note
    assert "at most 20% of the poisonous rows are called “edible”" in note
    assert "No promise on missed rows" in promise_notes(rule(alpha=0.1, positives=360, missed=1.0), SCHEMA)[0]

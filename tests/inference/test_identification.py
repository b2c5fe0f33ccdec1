"""Identifying step by step: a question first, a verdict only when it may be one."""

from dataclasses import replace
from pathlib import Path

import pytest

from sporeprint.errors import DataError
from sporeprint.inference.identification import identify_row
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.prediction import OUT_OF_DISTRIBUTION, TOO_LITTLE_OBSERVED
from sporeprint.inference.predictor import parse_row
from sporeprint.registry.registry import Registry
from sporeprint.safety.partial_guard import PARTIAL_GUARD_FILE


@pytest.fixture(scope="module")
def bundle(small_run: Path) -> Bundle:
    return Registry(small_run / "models/registry").load("xgboost/v1")


def test_nothing_is_a_question(bundle: Bundle) -> None:
    standing = identify_row(bundle, {})
    assert (standing.verdict, standing.unknown, standing.is_final) == ("unknown", TOO_LITTLE_OBSERVED, False)
    assert standing.fitting == len(bundle.safety.components)
    assert standing.reason is not None
    assert standing.reason.startswith("too little observed (0 of 20 columns); look at: ")


def test_asking_on_ends(bundle: Bundle) -> None:
    """Every golden row is asked about until there is a verdict, or nothing more to ask."""
    for whole in bundle.golden.rows[:4]:
        row: dict[str, str | float | None] = {}
        cannot_tell: set[str] = set()
        for _ in range(20):
            standing = identify_row(bundle, row, cannot_tell=frozenset(cannot_tell))
            if standing.is_final:
                break
            column = standing.next_questions[0].column
            assert column not in row
            assert column not in cannot_tell
            if whole.get(column) is None:
                cannot_tell.add(column)
            else:
                row[column] = whole[column]
        assert standing.is_final or not standing.next_questions


def test_a_value_never_seen_says_what_it_may_be(bundle: Bundle) -> None:
    row = parse_row({"cap-shape": "konvex"}, bundle.schema)
    standing = identify_row(bundle, row)
    assert standing.unknown == OUT_OF_DISTRIBUTION
    assert "did you mean 'convex'" in standing.unseen["cap-shape"]
    assert standing.next_questions == ()


def test_the_negative_class_is_only_said_when_fed(bundle: Bundle) -> None:
    assert bundle.safety.partial is not None
    starving = replace(bundle.safety, partial=replace(bundle.safety.partial, enough=-1.0))
    hungry = replace(bundle)
    hungry.__dict__["safety"] = starving
    negative = bundle.schema.target.values[bundle.schema.target.negative]
    for row in bundle.golden.rows:
        observed = {name: value for name, value in row.items() if value is not None}
        standing = identify_row(hungry, observed)
        assert standing.verdict != negative or not standing.next_questions


def test_a_version_of_before_is_refused_with_the_command(bundle: Bundle) -> None:
    old = replace(bundle, parts={name: data for name, data in bundle.parts.items() if name != PARTIAL_GUARD_FILE})
    with pytest.raises(DataError, match="train a new version: sporeprint etl"):
        identify_row(old, {})


def test_it_is_json(bundle: Bundle) -> None:
    import json

    assert json.loads(json.dumps(identify_row(bundle, {}).to_dict()))["verdict"] == "unknown"

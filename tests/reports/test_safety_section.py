"""What is said of the answers' safety: counts for programs, sentences for people."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.safety_scorecard import GroupCounts, ModelSafety, PredictionCounts
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.pipelines.evaluate import CONTEXT
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.safety_section import answer_rows, in_short, promise_in_words, safety_dict, safety_view, slug
from sporeprint.safety.risk_control import Threshold

WORDS = ClassWords("poisonous", "edible", "seen species", "unseen species", {})
NBSP = "\N{NO-BREAK SPACE}"
COUNTS = ("rows", "answered", "correct", "false_edible", "answered_edible", "poisonous")


@pytest.fixture(scope="module")
def context(small_run: Path) -> ReportContext:
    found: ReportContext = CONTEXT.validate_json((small_run / "models/candidates/evaluation.json").read_bytes())
    return found


def test_the_file_is_what_the_run_found(small_run: Path, context: ReportContext) -> None:
    written = json.loads((small_run / "models/metrics/safety.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(safety_dict(replace(context, versions={}))))


def test_every_figure_is_a_count_with_its_denominators(context: ReportContext) -> None:
    found = safety_dict(context)
    assert set(found) == {"run_id", "simulated", "coverage", "guard", "partial", "models"}
    assert list(found["guard"]["at_coverage"]) == ["0.9", "0.95", "0.99", "0.995", "0.999"]
    for counts in found["guard"]["at_coverage"].values():
        assert tuple(counts) == COUNTS
        assert 0 <= counts["false_edible"] <= counts["answered_edible"] <= counts["answered"] <= counts["rows"] == 1800
    assert list(found["models"]) == list(context.evaluations)
    for model in found["models"].values():
        assert tuple(model["seen"]) == COUNTS
        assert model["unseen_species"]["folds"] == 3
        assert model["unseen_species"]["rows"] == 1800
        assert sum(item["answered"] for item in model["by_group"]) == model["unseen_species"]["answered"]
        assert model["promise"] == []
        assert model["threshold"]["reason"]


def test_what_could_not_be_measured_says_so(context: ReportContext) -> None:
    evaluations = {
        name: replace(found, safety=replace(found.safety, unseen=None, by_group=())) for name, found in context.evaluations.items()
    }
    found = safety_dict(replace(context, guard=Unavailable("shuffled"), evaluations=evaluations))
    assert found["guard"] == {"available": False, "reason": "shuffled"}
    assert all(model["unseen_species"] == {"available": False} for model in found["models"].values())


@pytest.mark.parametrize(("word", "key"), [("edible", "edible"), ("not ill (yet)", "not_ill_yet"), ("Größe", "gr_e")])
def test_a_word_as_part_of_a_key(word: str, key: str) -> None:
    assert slug(word) == key


def test_a_promise_names_its_share_its_confidence_and_its_assumption() -> None:
    kept = Threshold(0.25, 0.001, 0.05, answered=4052, wrong=0, reason="r")
    said = promise_in_words(kept, WORDS, 0.995, group="species").replace(NBSP, " ")
    assert "Of its “edible” answers at most 0.1 % are poisonous, with 95 % confidence: on 4,052 rows that nothing was" in said
    assert "not for a species nobody has seen" in said
    assert "99.5 % of rows like them are not" in said


def test_where_nothing_is_promised_the_reason_is_given() -> None:
    none = Threshold(None, 0.001, 0.05, answered=4041, wrong=7, reason="7 of 4,041 were wrong")
    said = promise_in_words(none, WORDS, 0.995, group="species").replace(NBSP, " ")
    assert said.startswith("It never answers “edible”: no threshold was shown to keep wrong “edible” answers below 0.1 %")
    assert "(7 of 4,041 were wrong)" in said


@pytest.mark.parametrize(("missed", "verb"), [(0, "were"), (1, "was"), (2, "were")])
def test_in_short(missed: int, verb: str) -> None:
    safety = ModelSafety(PredictionCounts(1, 1, 1, 0, 1, 0), 1.0, PredictionCounts(1000, 40, 30, missed, 20, 500), 5, ())
    said = "So it answers “unknown” to 960 of their 1,000 rows; of the 500 that are poisonous, "
    assert in_short(safety, WORDS) == f"{said}{missed} {verb} answered with “edible”."
    assert in_short(replace(safety, unseen=None), WORDS) == ""
    groups = tuple(GroupCounts(number, PredictionCounts(300, 0, 0, 0, 0, 300)) for number in range(95))
    counted = in_short(replace(safety, by_group=groups), WORDS)
    assert counted.endswith("0 of 95 poisonous species, so at most 3.1% of such species with 95 % confidence.")


def test_rows_of_the_table_are_in_the_order_of_the_models(context: ReportContext) -> None:
    rows = answer_rows(context)
    assert [(row.model, row.side) for row in rows] == [(name, side) for name in context.evaluations for side in ("seen", "unseen")]
    for row in rows:
        assert row.coverage == pytest.approx(row.counts.answered / row.counts.rows)
        right = row.counts.correct / row.counts.answered if row.counts.answered else math.nan
        assert row.accuracy.value == pytest.approx(right, nan_ok=True)
        assert math.isnan(row.accuracy.low) == (row.side == "unseen" or not row.counts.answered)


def test_empty_cells_that_say_nothing_are_counted_in_rows_and_in_groups(context: ReportContext) -> None:
    name = next(iter(context.evaluations))
    groups = tuple(GroupCounts(number, PredictionCounts(300, 2 * (number < 3), 1, int(number == 1), 1, 300)) for number in range(20))
    evaluation = context.evaluations[name]
    changed = {name: replace(evaluation, safety=replace(evaluation.safety, ignoring_missing=groups))}
    found = safety_view(replace(context, evaluations=changed), name).ignoring_missing
    assert found is not None
    assert (found.counts.rows, found.counts.answered, found.counts.false_negative) == (6000, 6, 1)
    assert (found.bound.groups, found.bound.wrong, len(found.answered)) == (20, 1, 3)
    written = safety_dict(replace(context, evaluations=changed))["models"][name]["ignoring_missing"]
    assert (written["answered"], written["false_edible"], written["by_group_bound"]["positive_groups"]) == (6, 1, 20)


def test_the_groups_with_most_wrong_answers_come_first(context: ReportContext) -> None:
    name = next(iter(context.evaluations))
    found: Any = safety_view(context, name)
    wrong = [counts.false_negative for _, counts in found.wrong_groups]
    assert wrong == sorted(wrong, reverse=True)
    assert all(counts.answered for _, counts in found.wrong_groups)

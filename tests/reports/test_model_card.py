"""The model card: what is said of a version, and that nothing is said that was not measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.safety_scorecard import total
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.pipelines.evaluate import CONTEXT
from sporeprint.reports.model_card import render_card


@pytest.fixture(scope="module")
def context(small_run: Path) -> ReportContext:
    return CONTEXT.validate_json((small_run / "models/candidates/evaluation.json").read_bytes())


def test_every_number_with_its_interval(context: ReportContext) -> None:
    card = render_card(context, "xgboost")
    found = context.evaluations["xgboost"]
    assert not isinstance(found.unseen, Unavailable)
    for measured in (found.seen, found.unseen):
        for name, estimate in measured.metrics.items():
            assert f"| {name} | {estimate.value:.4f} | {estimate.low:.4f} to {estimate.high:.4f} |" in card
        assert f"{measured.confusion.fn:,} of {measured.positives:,} poisonous rows were called edible." in card
    assert card.startswith("# xgboost for mushroom\n")
    counted = f"{found.seen.units} different rows"
    assert card.index(f"### On rows of a species it has seen (270 rows; intervals count {counted})") < card.index(
        "### On rows of a species it has never seen (1,800 rows; intervals count 30 groups)"
    )
    ignoring = total(found.safety.ignoring_missing)
    assert f"| species it has never seen, where empty cells carry no information | {ignoring.answered:,} of 1,800 |" in card
    assert f"Trained by run {context.run_id} on {context.data['source']} (sha256 {context.data['sha256'][:12]})." in card
    assert "SIMULATED" not in card


def test_what_was_not_measured_is_said_to_be_so(context: ReportContext) -> None:
    evaluation = replace(context.evaluations["xgboost"], unseen=Unavailable("the rows are shuffled"), by_group=())
    card = render_card(replace(context, evaluations={"xgboost": evaluation}), "xgboost")
    assert "### On rows of a species it has never seen\n\nNot available: the rows are shuffled.\n" in card


def test_invented_data_is_called_so_at_the_top(context: ReportContext) -> None:
    lines = render_card(replace(context, simulated=True), "xgboost").splitlines()
    assert lines[2].startswith("**SIMULATED DATA.**")


def test_every_version_has_its_card(small_run: Path) -> None:
    for name in ("logistic_regression", "decision_tree", "xgboost"):
        version = small_run / "models/registry" / name / "v1"
        card = (version / "model_card.md").read_text(encoding="utf-8")
        accuracy = json.loads((version / "metrics.json").read_text(encoding="utf-8"))["seen"]["accuracy"]["value"]
        assert f"| accuracy | {accuracy:.4f} |" in card

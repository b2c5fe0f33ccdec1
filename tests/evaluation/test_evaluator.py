"""Candidates measured on rows of seen and of unseen groups: on which rows, by models that knew what, and why not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sporeprint import settings
from sporeprint.common.progress import SilentProgress
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import GroupCheck
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.training_data import KnownRows, ModelInput, read_input
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluator import (
    CrossValidation,
    compare_candidates,
    count_seen,
    cross_validate,
    evaluate_candidates,
    evaluate_guard,
    report_context,
    score_seen,
)
from sporeprint.evaluation.group_folds import group_folds
from sporeprint.evaluation.safety_scorecard import total
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder_fit import column_transforms, fit_and_encode
from sporeprint.models.training import fit_model
from sporeprint.pipelines.candidate_files import read_candidates
from sporeprint.safety.decision_rule import fit_decision_rule, fit_guard, fit_guards
from sporeprint.settings import Settings

NAMES = ["logistic_regression", "decision_tree"]


class Counting(SilentProgress):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.all: int | None = None
        self.done = 0

    def total(self, amount: int | None) -> None:
        self.all = amount

    def advance(self, amount: int) -> None:
        self.done += amount


@pytest.fixture
def chosen(small_config: dict[str, Any]) -> Settings:
    return settings.parse({**small_config, "models": {name: small_config["models"][name] for name in NAMES}})


@pytest.fixture
def data(chosen: Settings, small_run: Path) -> ModelInput:
    return read_input(chosen, Workdir(small_run))


@pytest.fixture
def found(small_run: Path, data: ModelInput) -> list[Candidate]:
    return read_candidates(small_run / "models/candidates", NAMES, data.record.run_id)


def test_scores_are_of_models_that_never_saw_the_group(chosen: Settings, data: ModelInput) -> None:
    """Done again by hand, for one fold and one model."""
    progress = Counting()
    held_out = cross_validate(chosen, data, progress)
    assert (progress.all, progress.done) == (6, 6)
    rows = concat([data.train, data.validation, data.test])
    assert held_out.rows is not None
    assert np.array_equal(held_out.rows.row, rows.row)
    assert rows.group is not None
    assert rows.part is not None
    fold = group_folds(rows.group, rows.y, folds=3, seed=chosen.runtime.seed)
    assert not isinstance(fold, Unavailable)
    out, learn = fold == 1, (fold != 1) & (rows.part == 0)
    assert not set(rows.group[out]) & set(rows.group[learn])
    model = chosen.models["decision_tree"]
    codes = rows.codes.take(learn)
    transforms = column_transforms(chosen.transform, model, chosen.dataset)
    encoder, matrix = fit_and_encode(codes, rows.y[learn], transforms, seed=chosen.runtime.seed)
    encoded = EncodedRows(matrix, rows.y[learn])
    fitted = fit_model(model, encoded, encoded, seed=chosen.runtime.seed, threads=1)
    known, calibrate, test = (rows.take((fold != 1) & np.isin(rows.part, parts)) for parts in ((0, 1), (2,), (3,)))
    seed = chosen.runtime.seed
    guard, partial = fit_guards(KnownRows.of(known), calibrate, test, chosen.dataset, chosen.guard, seed=seed, is_rehearsed=False)
    safe = fit_decision_rule(
        lambda codes: fitted.score(encoder.matrix(codes)),
        encoder,
        guard,
        calibrate,
        test,
        chosen.dataset,
        chosen.guard,
        partial=partial,
    )
    mine = rows.codes.take(out)
    answers = safe.predictions(mine, fitted.score(encoder.matrix(mine)), encoder, chosen.dataset)
    assert held_out.answers is not None
    by_measure = held_out.answers.models["decision_tree"]
    np.testing.assert_array_equal(by_measure.probability[out], answers.probability)
    np.testing.assert_array_equal(by_measure.verdict[out], answers.verdict)
    np.testing.assert_array_equal(held_out.answers.guard.p[out], answers.novelty.p)


@pytest.mark.parametrize("reason", ["the rows are shuffled", "the configuration declares no groups (dataset.groups)"])
def test_without_groups_nothing_is_fitted_and_the_reason_is_told(
    reason: str, chosen: Settings, data: ModelInput, found: list[Candidate]
) -> None:
    data = replace(data, record=replace(data.record, groups=GroupCheck(available=False, count=0, reason=reason)))
    progress = Counting()
    held_out = cross_validate(chosen, data, progress)
    assert held_out == CrossValidation.nothing(reason)
    assert progress.all is None
    measured = evaluate_candidates(chosen, data, found, held_out, SilentProgress())
    for model in measured.values():
        assert model.unseen == Unavailable(reason)
        assert model.by_group == ()
        assert (model.safety.unseen, model.safety.by_group) == (None, ())
        assert model.safety.seen.rows == len(data.test.y)
    assert evaluate_guard(chosen, data, found[0].safety.guard, held_out) == Unavailable(reason)
    assert {comparison.on for comparison in compare_candidates(chosen, data, found, held_out)} == {"seen"}


def regrouped(data: ModelInput, name: Callable[[Observations], npt.NDArray[np.int64]]) -> ModelInput:
    """The same rows in other groups."""
    parts = {part: getattr(data, part) for part in ("train", "validation", "test")}
    return replace(data, **{part: replace(table, group=name(table)) for part, table in parts.items()})


def test_a_class_in_one_group_only_is_a_reason_too(chosen: Settings, data: ModelInput) -> None:
    held_out = cross_validate(chosen, regrouped(data, lambda table: table.y.astype(np.int64)), SilentProgress())
    assert held_out.rows is None
    assert held_out.reason.startswith("only 1 group has rows of the negative class; at least 2 must")


def test_a_class_that_no_fold_could_learn_is_a_reason_too(chosen: Settings, data: ModelInput) -> None:
    """All edible rows to learn from are in one group, the other one holds but test rows."""

    def name(table: Observations) -> npt.NDArray[np.int64]:
        assert table.part is not None
        return np.where(table.y == 1, table.row % 9, np.where(table.part == 4, 100, 101))

    held_out = cross_validate(chosen, regrouped(data, name), SilentProgress())
    assert (held_out.rows, held_out.answers) == (None, None)
    assert held_out.reason == "where a fold is held out, the training rows that are left are of one class"


def test_fewer_groups_than_folds_are_held_out_one_by_one(small_config: dict[str, Any], data: ModelInput) -> None:
    small_config["evaluation"]["folds"] = 40
    small_config["models"] = {"decision_tree": small_config["models"]["decision_tree"]}
    progress = Counting()
    assert cross_validate(settings.parse(small_config), data, progress).rows is not None
    assert (progress.all, progress.done) == (30, 30)


def test_seen_is_the_test_rows_and_unseen_is_all_rows(chosen: Settings, data: ModelInput, found: list[Candidate]) -> None:
    progress = Counting()
    held_out = cross_validate(chosen, data, SilentProgress())
    measured = evaluate_candidates(chosen, data, found, held_out, progress)
    assert progress.done == 4
    assert list(measured) == NAMES
    for candidate in found:
        model = measured[candidate.name]
        assert model.seen.rows == len(data.test.y)
        assert not isinstance(model.unseen, Unavailable)
        assert (model.unseen.rows, len(model.by_group)) == (1800, 30)
        right = np.mean((candidate.probabilities > 0.5) == data.test.y)
        assert model.seen.metrics["accuracy"].value == pytest.approx(right)
        assert sum(group.errors for group in model.by_group) == model.unseen.confusion.fp + model.unseen.confusion.fn
        assert model.seen == score_seen(chosen, data, candidate)
        assert model.safety.seen == count_seen(chosen, data, candidate).seen
        # No classifier is asked, so that they are of all models alike.
        assert model.safety.ignoring_missing == measured[NAMES[0]].safety.ignoring_missing
        assert total(model.safety.ignoring_missing).rows == 1800
        assert model.safety.unseen is not None
        assert (model.safety.unseen.rows, model.safety.folds, len(model.safety.by_group)) == (1800, 3, 30)
        assert sum(group.counts.answered for group in model.safety.by_group) == model.safety.unseen.answered
        assert model.safety.promise == ()


def test_everything_is_one_group_at_a_time_and_the_promise(small_config: dict[str, Any], data: ModelInput, found: list[Candidate]) -> None:
    small_config["models"] = {"decision_tree": small_config["models"]["decision_tree"]}
    small_config["evaluation"] |= {"splits": 20, "alphas": [0.05, 0.2]}
    chosen = settings.parse(small_config)
    progress = Counting()
    held_out = cross_validate(chosen, data, progress, full=True)
    assert (progress.all, progress.done, held_out.folds) == (30, 30, 30)
    measured = evaluate_candidates(chosen, data, found[1:], held_out, SilentProgress(), full=True)["decision_tree"]
    assert measured.safety.folds == 30
    assert [(item.alpha, item.splits) for item in measured.safety.promise] == [(0.05, 20), (0.2, 20)]
    for item in measured.safety.promise:
        assert 0 <= item.with_threshold <= 20
        assert item.held >= 20 - item.with_threshold


def test_the_guard_alone_is_measured_on_all_rows(chosen: Settings, data: ModelInput, found: list[Candidate]) -> None:
    held_out = cross_validate(chosen, data, SilentProgress())
    measured = evaluate_guard(chosen, data, found[0].safety.guard, held_out)
    assert not isinstance(measured, Unavailable)
    assert measured.how == "one species at a time"
    assert 0.5 < measured.novelty_auc <= 1
    assert all(counts.rows == 1800 for counts in measured.at_coverage.values())
    assert len(measured.by_group) == 30


def test_clusters_are_measured_in_the_folds(small_config: dict[str, Any], data: ModelInput) -> None:
    small_config["models"] = {"decision_tree": small_config["models"]["decision_tree"]}
    small_config["guard"] = {"components": "clusters", "clusters": 20}
    chosen = settings.parse(small_config)
    held_out = cross_validate(chosen, data, SilentProgress())
    rows = concat([data.train, data.part(chosen, "early_stop")])
    guard = fit_guard(rows, data.part(chosen, "calibration"), chosen.dataset, chosen.guard, seed=1)
    measured = evaluate_guard(chosen, data, guard, held_out)
    assert not isinstance(measured, Unavailable)
    assert measured.how == "3 folds of whole groups"
    assert measured.pairs == ()


def test_models_are_compared_pair_by_pair_on_both(chosen: Settings, data: ModelInput, found: list[Candidate]) -> None:
    held_out = cross_validate(chosen, data, SilentProgress())
    compared = compare_candidates(chosen, data, found, held_out)
    assert {(item.a, item.b) for item in compared} == {("logistic_regression", "decision_tree")}
    assert {item.on for item in compared} == {"seen", "unseen"}
    assert compare_candidates(chosen, data, found[:1], held_out) == ()


def test_what_the_report_is_told(chosen: Settings, data: ModelInput, found: list[Candidate]) -> None:
    context = report_context(
        chosen, "run", "2026-01-01T00:00:00+00:00", {"train": 1.0}, data, found, {}, (), Unavailable("none"), ("a", "b")
    )
    assert context.data["rows"] == 1800
    assert context.data["splits"] == dict(data.record.splits)
    assert context.rule == "best mcc on seen rows"
    assert (context.production, context.versions) == ("", {})
    assert context.fit_seconds == {candidate.name: candidate.fit_seconds for candidate in found}
    for shares in context.importances.values():
        assert sum(shares.values()) == pytest.approx(1)

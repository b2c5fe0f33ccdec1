"""Scores of rows whose group no model saw: nothing of a fold, its labels least of all, reaches the model that scores it."""

import pickle
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from sporeprint import settings
from sporeprint.common.engine import LocalEngine
from sporeprint.data.dataset import Observations
from sporeprint.evaluation.group_cross_validation import HeldOutPredictions, predict_held_out
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder_fit import column_transforms, fit_and_encode, fit_encoder
from sporeprint.models.training import fit_model
from sporeprint.safety.verdict import UNKNOWN
from sporeprint.settings import ModelSettings, Settings, TransformSettings
from support import NUMERIC, OPEN, Labelled, codes, dataset, observations

GROUPS, ROWS = 24, 20
SCHEMA = dataset({"id": OPEN, "size": NUMERIC})
#: train, early_stop, calibration, threshold, test.
PART = np.array([0, 0, 0, 0, 0, 0, 1, 2, 3, 4], dtype=np.int8)[np.arange(GROUPS * ROWS) % 10]
MODELS = {
    "tree": ModelSettings(estimator="sklearn.tree.DecisionTreeClassifier", nominal="target_mean", numeric="none"),
    "linear": ModelSettings(estimator="sklearn.linear_model.LogisticRegression"),
    "boosted": ModelSettings(estimator="xgboost", nominal="ordinal", rounds=12, early_stopping_rounds=3, params={"subsample": 0.7}),
}


def leaky(*, sizes: bool = True) -> Observations:
    """Rows whose `id` is their group's name, and whose class is their group's: who saw the group knows the class."""
    random = np.random.default_rng(4)
    group = np.repeat(np.arange(GROUPS), ROWS)
    y = np.repeat(random.permutation(np.arange(GROUPS) % 2), ROWS).astype(np.int8)
    size = (random.normal(size=GROUPS * ROWS) + 0.5 * y).round(2) if sizes else np.zeros(GROUPS * ROWS)
    table = codes({"id": [f"g{number:02d}" for number in group], "size": size.tolist()}, SCHEMA)
    found = observations(Labelled(SCHEMA, table, y), group=False)
    return Observations(found.codes, found.y, found.row, group.astype(np.int64), found.row_hash, PART)


TABLE = leaky()
assert TABLE.group is not None
FOLD = TABLE.group % 4
LEARN, STOP = PART == 0, PART == 1


def chosen(models: dict[str, ModelSettings], **guard: Any) -> Settings:
    """Uncalibrated, so that scores can be held against those by hand."""
    return settings.parse(
        {
            "dataset": SCHEMA.model_dump(mode="json"),
            "source": {"path": "x.csv"},
            "split": {"train": 0.6, "early_stop": 0.1, "calibration": 0.1, "threshold": 0.1, "test": 0.1},
            "models": {name: model.model_dump(mode="json") for name, model in models.items()},
            "guard": {"calibration": "none", "clusters": 6, **guard},
            "runtime": {"seed": 1},
        }
    )


def answers(table: Observations = TABLE, *, fold: Any = FOLD, **guard: Any) -> HeldOutPredictions:
    return predict_held_out(table, fold, chosen(MODELS, **guard), threads=1)


def scores(
    table: Observations = TABLE, models: dict[str, ModelSettings] = MODELS, *, fold: Any = FOLD, **more: Any
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    found = predict_held_out(table, fold, chosen(models), threads=1, **more)
    return {name: model.probability for name, model in found.models.items()}


class TwoNodes(LocalEngine):
    """Tasks in other processes, as on a cluster."""

    nodes = 2


def test_folds_as_tasks_of_a_cluster_say_the_same() -> None:
    fits: list[str] = []
    with closing(TwoNodes(2)) as engine:
        found = predict_held_out(TABLE, FOLD, chosen(MODELS), threads=1, each_fit=fits.append, engine=engine)
        assert engine._pool is not None, "no other process was asked"
    assert fits == 4 * list(MODELS)
    assert pickle.dumps(found) == pickle.dumps(answers())


def with_labels(y: Any) -> Observations:
    return Observations(TABLE.codes, y.astype(np.int8), TABLE.row, TABLE.group, TABLE.row_hash, PART)


@pytest.fixture(scope="module")
def honest() -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    return scores()


def test_the_data_would_show_a_leak() -> None:
    # The same models, fitted on rows of every group, know each of them by its name.
    for model in MODELS.values():
        encoder = fit_encoder(TABLE.codes.take(LEARN), TABLE.y[LEARN], column_transforms(TransformSettings(), model, SCHEMA))
        X = encoder.matrix(TABLE.codes)
        fitted = fit_model(model, EncodedRows(X[LEARN], TABLE.y[LEARN]), EncodedRows(X[STOP], TABLE.y[STOP]), seed=1, threads=1)
        assert ((fitted.score(X) > 0.5) == TABLE.y).mean() > 0.95


@pytest.mark.parametrize("name", MODELS)
def test_nobody_knows_a_group_by_its_name(name: str) -> None:
    # Without the sizes nothing but the name is left, and it tells nothing: all rows of a fold have one score.
    found = scores(leaky(sizes=False), {name: MODELS[name]})[name]
    assert [len(set(found[number == FOLD].tolist())) for number in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize("number", range(4))
def test_the_labels_of_a_fold_do_not_touch_its_scores(number: int, honest: dict[str, Any]) -> None:
    out = number == FOLD
    found = scores(with_labels(np.where(out, 1 - TABLE.y, TABLE.y)))
    for name in MODELS:
        assert np.array_equal(found[name][out], honest[name][out])
    assert not np.array_equal(found["linear"][~out], honest["linear"][~out])


def test_a_row_s_score_does_not_hang_on_what_else_its_fold_holds(honest: dict[str, Any]) -> None:
    some = (FOLD != 2) | (np.arange(len(FOLD)) % 3 == 0)
    found = scores(TABLE.take(some), fold=FOLD[some])
    for name in MODELS:
        assert np.array_equal(found[name][FOLD[some] == 2], honest[name][some & (FOLD == 2)])


def test_only_rows_to_learn_from_and_to_stop_by_are_learnt_from(honest: dict[str, Any]) -> None:
    others = ~(LEARN | STOP)
    found = scores(with_labels(np.where(others, 1 - TABLE.y, TABLE.y)))
    assert all(np.array_equal(found[name], honest[name]) for name in MODELS)


def test_rows_to_stop_by_are_for_boosting_only(honest: dict[str, Any]) -> None:
    found = scores(with_labels(np.where(STOP, 1 - TABLE.y, TABLE.y)))
    assert np.array_equal(found["tree"], honest["tree"])
    assert np.array_equal(found["linear"], honest["linear"])
    assert not np.array_equal(found["boosted"], honest["boosted"])


def test_a_fold_is_scored_as_by_hand(honest: dict[str, Any]) -> None:
    out = FOLD == 3
    learn, stop = LEARN & ~out, STOP & ~out
    for name, model in MODELS.items():
        transforms = column_transforms(TransformSettings(), model, SCHEMA)
        # Numbers that come from the label are cross-fitted in the rows that are learnt from, and in no others.
        encoder, matrix = fit_and_encode(TABLE.codes.take(learn), TABLE.y[learn], transforms, seed=1)
        assert not {f"g{number:02d}" for number in range(3, GROUPS, 4)} & set(encoder.vocabulary["id"])
        stopping = EncodedRows(encoder.matrix(TABLE.codes.take(stop)), TABLE.y[stop])
        fitted = fit_model(model, EncodedRows(matrix, TABLE.y[learn]), stopping, seed=1, threads=1)
        assert np.array_equal(fitted.score(encoder.matrix(TABLE.codes.take(out))), honest[name][out])


def test_every_row_has_a_score_and_what_holds_for_all_groups_is_learnt(honest: dict[str, Any]) -> None:
    assert list(honest) == list(MODELS)
    for found in honest.values():
        assert (found.dtype, found.shape) == (np.dtype(np.float64), TABLE.y.shape)
        assert ((found >= 0) & (found <= 1)).all()
    assert honest["linear"][TABLE.y == 1].mean() > honest["linear"][TABLE.y == 0].mean() + 0.02


def test_every_fit_is_told() -> None:
    told: list[str] = []
    names = {name: MODELS[name] for name in ("linear", "tree")}
    scores(models=names, each_fit=told.append)
    assert told == ["linear", "tree"] * 4


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
def test_the_labels_of_a_fold_touch_neither_its_answers_nor_the_guard(number: int) -> None:
    out = number == FOLD
    found, wrong = answers(calibration="isotonic"), answers(with_labels(np.where(out, 1 - TABLE.y, TABLE.y)), calibration="isotonic")
    for name in MODELS:
        assert np.array_equal(found.models[name].verdict[out], wrong.models[name].verdict[out])
        assert np.array_equal(found.models[name].probability[out], wrong.models[name].probability[out])
    for of in ("p", "typicality", "positive", "taken_for"):
        assert np.array_equal(getattr(found.guard, of)[out], getattr(wrong.guard, of)[out])


def test_a_group_nobody_knows_by_its_name_is_unknown_to_all() -> None:
    # Every row of a fold has a value that was never seen.
    found = answers()
    for model in found.models.values():
        assert (model.verdict == UNKNOWN).all()
        assert len(model.thresholds) == 4
    # The guard by itself finds hardly a calibration row as novel.
    assert found.guard.p.max() < 0.06


def test_the_parts_are_needed() -> None:
    without = Observations(TABLE.codes, TABLE.y, TABLE.row, TABLE.group, TABLE.row_hash, None)
    with pytest.raises(ValueError, match="the rows' parts are needed"):
        answers(without)

"""A finished run from Python: the values of the run, and what is said where there is none."""

from pathlib import Path

import numpy as np
import pytest

from sporeprint.errors import ConfigError, DataError
from sporeprint.pipelines.run import Run, load_run


@pytest.fixture(scope="module")
def run(small_run: Path, config_file: Path) -> Run:
    return load_run(small_run, config=config_file)


def test_all_rows_stand_in_the_order_of_the_source(run: Run) -> None:
    tables = (run.tables.train, run.tables.validation, run.tables.test)
    assert len(run.observations.y) == sum(len(table.y) for table in tables)
    assert (np.diff(run.observations.row) > 0).all()
    assert len(run.rows(run.part("calibration"))) == len(run.part("calibration").y)


def test_predictions_are_those_of_the_run(run: Run) -> None:
    test, model = run.tables.test, run.models["xgboost"]
    predictions = run.predictions("xgboost", test)
    np.testing.assert_array_equal(model.score(test.codes), model.scores)
    assert run.verdict_words[0] == run.words.negative
    counts = run.evaluation.evaluations["xgboost"].safety.seen
    assert counts.answered == (predictions.verdict != run.verdict_words.index("unknown")).sum()


def test_attributions_add_up_to_the_score(run: Run) -> None:
    rows = run.tables.test.take(np.arange(20))
    effects, base = run.attributions("xgboost", rows)
    assert set(effects) <= set(run.schema.columns)
    log_odds = base + np.sum(list(effects.values()), axis=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), run.models["xgboost"].score(rows.codes), atol=1e-5)


def test_the_threshold_of_the_configuration_is_the_one_that_was_fitted(run: Run) -> None:
    fitted = run.evaluation.thresholds["xgboost"]
    threshold = run.threshold("xgboost", run.settings.guard.alpha)
    assert (threshold.value, threshold.answered, threshold.wrong) == (fitted.value, fitted.answered, fitted.wrong)


def test_without_a_run_or_a_configuration_it_says_so(tmp_path: Path, config_file: Path) -> None:
    with pytest.raises(DataError, match=r"no data has been loaded in .*; run sporeprint load first"):
        load_run(tmp_path, config=config_file)
    with pytest.raises(ConfigError, match=r"no configuration file at .*config\.yaml"):
        load_run(tmp_path)

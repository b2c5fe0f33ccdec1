"""Models fitted on rows that are read in batches are those of the same rows in memory."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_support import SCHEMA, species
from sporeprint.common.batches import BatchSequence
from sporeprint.data.row_sample import row_keys, smallest
from sporeprint.data.training_data import KnownRows
from sporeprint.models import training
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder_fit import column_transforms, encode_training, encoder_of
from sporeprint.models.encoder_tally import FOLDS, RowsWithFolds, training_counts
from sporeprint.models.training import FittedModel, fit_model
from sporeprint.models.training_rows import StoredTrainingRows, fit_encoder_and_rows
from sporeprint.settings import ModelSettings, TransformSettings

ROWS = species(3000)
FOLDED = RowsWithFolds(ROWS.codes, ROWS.y, (row_keys(ROWS) % np.uint64(FOLDS)).astype(np.int64))
LOGISTIC, TREE = "sklearn.linear_model.LogisticRegression", "sklearn.tree.DecisionTreeClassifier"


def transforms(**wishes: Any) -> Any:
    return column_transforms(TransformSettings(), ModelSettings(estimator="xgboost", **wishes), SCHEMA)


def known(cuts: list[int], most: int = 3000) -> KnownRows:
    batches = [ROWS.take(part) for part in np.split(np.arange(3000), sorted(cuts)) if len(part)]
    return KnownRows(BatchSequence(batches), smallest(ROWS, most), is_whole=False)


@pytest.mark.parametrize("wishes", [{"nominal": "one_hot"}, {"nominal": "ordinal"}, {"nominal": "target_mean", "numeric": "robust"}])
@settings(max_examples=10)
@given(st.lists(st.integers(0, 3000), max_size=5))
def test_batches_are_encoded_as_the_whole(wishes: dict[str, str], cuts: list[int]) -> None:
    chosen = transforms(**wishes)
    encoder, rows = fit_encoder_and_rows(known(cuts), chosen, seed=1)
    learned = training_counts(BatchSequence([FOLDED]))
    expected = encoder_of(learned, chosen)
    assert encoder.features == expected.features
    assert rows.count == 3000
    X = np.concatenate([part.X for part in rows])
    np.testing.assert_allclose(X, encode_training(expected, learned.tally, FOLDED, chosen), rtol=1e-5, atol=1e-6)
    assert np.concatenate([part.y for part in rows]).tolist() == ROWS.y.tolist()


def test_quartiles_and_ranges_are_exact() -> None:
    chosen = transforms(numeric="robust")
    in_parts = fit_encoder_and_rows(known([500, 2100]), chosen, seed=1)[0]
    assert in_parts.to_json() == encoder_of(training_counts(BatchSequence([FOLDED])), chosen).to_json()


@dataclass(frozen=True)
class RowsInParts(BatchSequence[EncodedRows]):
    """Encoded rows, in parts."""

    whole: EncodedRows

    @classmethod
    def of(cls, whole: EncodedRows, parts: int) -> Self:
        return cls([EncodedRows(whole.X[part], whole.y[part]) for part in np.array_split(np.arange(whole.count), parts)], whole)

    @property
    def count(self) -> int:
        return self.whole.count

    def sample(self, most: int) -> EncodedRows:
        return self.whole.sample(most)


def whole() -> EncodedRows:
    found = fit_encoder_and_rows(KnownRows.of(ROWS), transforms(nominal="ordinal"), seed=1)[1]
    assert isinstance(found, EncodedRows)
    return found


def fitted(rows: training.TrainingRows, estimator: str = "xgboost", *, most_rows: int = 5000, **params: Any) -> FittedModel:
    stop = EncodedRows(whole().X[::7], whole().y[::7])
    model = ModelSettings(estimator=estimator, rounds=20, params=params)
    return fit_model(model, rows, stop, seed=1, threads=1, most_rows=most_rows)


def test_boosting_from_batches_is_boosting_in_memory() -> None:
    rows = whole()
    rounded = EncodedRows(rows.X.round(1), rows.y)  # fewer values than bins: then the bins of the parts are those of the whole
    expected = fitted(rounded).estimator.save_raw()
    assert all(fitted(RowsInParts.of(rounded, parts)).estimator.save_raw() == expected for parts in (1, 3))


def test_boosting_of_more_values_than_bins_hardly_differs() -> None:
    rows = whole()
    assert np.abs(fitted(rows).score(rows.X) - fitted(RowsInParts.of(rows, 5)).score(rows.X)).mean() < 0.01


def test_logistic_regression_over_batches_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = whole()
    expected = fitted(rows, LOGISTIC, solver="newton-cholesky", tol=1e-10).score(rows.X)
    monkeypatch.setattr(training, "NEWTON_ROWS", 1000)
    found = fitted(RowsInParts.of(rows, 4), LOGISTIC, solver="newton-cholesky")
    np.testing.assert_allclose(found.score(rows.X), expected, atol=1e-6)
    assert found.notes == ()
    assert fitted(rows, LOGISTIC, solver="newton-cholesky", max_iter=2).notes[0].startswith("Newton's method did not converge in 2 steps")


def test_other_estimators_see_a_sample_and_it_is_said() -> None:
    encoder, rows = fit_encoder_and_rows(known([1500], most=1000), transforms(nominal="ordinal"), seed=1)
    assert isinstance(rows, StoredTrainingRows)
    found = fitted(rows, TREE, most_rows=1000, min_samples_leaf=5)
    assert found.notes == ("fitted on 1,000 of 3,000 training rows, chosen by hash (runtime.most_rows)",)
    assert found.estimator.tree_.n_node_samples[0] == 1000
    assert len(encoder.features) == rows.sample(10).X.shape[1]
    assert fitted(rows, TREE, most_rows=3000, min_samples_leaf=5).notes != ()

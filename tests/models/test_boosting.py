"""XGBoost over batches: what another process gets, and what is said of parameters that it cannot take. (More: test_training.py.)"""

import pickle
from typing import Any

import numpy as np
import pytest

from sporeprint.errors import ConfigError
from sporeprint.models.boosting import Boosting
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.settings import ModelSettings

X = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
ROWS = EncodedRows(X, (X[:, 0] > 0).astype(np.int8))
MODEL = ModelSettings(estimator="xgboost", rounds=7, early_stopping_rounds=None)


def test_another_process_fits_the_same_and_counts_no_rounds() -> None:
    seen: list[int] = []
    here = Boosting(MODEL, ROWS, None, 1, 1, seen.append)
    there = pickle.loads(pickle.dumps(here))
    assert there.each_round is None
    assert here(ROWS).booster.save_raw() == there(ROWS).booster.save_raw()
    assert len(seen) == here(ROWS).rounds == 7


def test_bins_are_those_of_the_rows_that_were_chosen_for_them_in_however_many_batches() -> None:
    some = EncodedRows(X[::2], ROWS.y[::2])
    batches = [EncodedRows(X[part], ROWS.y[part]) for part in np.split(np.arange(400), [90, 310])]
    chosen, other = Boosting(MODEL, ROWS, some, 1, 1), Boosting(MODEL, ROWS, None, 1, 1)
    one = chosen([ROWS]).booster
    assert one.save_raw() == chosen(batches).booster.save_raw() == pickle.loads(pickle.dumps(chosen))(batches).booster.save_raw()
    assert thresholds(one) <= set(some.X.ravel())
    assert not thresholds(other([ROWS]).booster) <= set(some.X.ravel())


def thresholds(booster: Any) -> set[np.float32]:
    return set(booster.trees_to_dataframe()["Split"].dropna().to_numpy(np.float32))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"objective": "reg:squarederror"}, r"objective 'reg:squarederror' gives no probability"),
        ({"booster": "gblinear"}, r"booster 'gblinear' cannot be served"),
        ({"max_depth": -3}, r"^xgboost refuses the parameters \{'max_depth': -3\}"),
    ],
)
def test_parameters_it_cannot_take_are_named(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Boosting(MODEL.model_copy(update={"params": params}), ROWS, None, 1, 1)([ROWS])

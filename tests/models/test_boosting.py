"""XGBoost over batches: what another process gets, and what is said of parameters that it cannot take. (More: test_training.py.)"""

import pickle

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
    here = Boosting(MODEL, ROWS, 1, 1, seen.append)
    there = pickle.loads(pickle.dumps(here))
    assert there.each_round is None
    assert here(ROWS).booster.save_raw() == there(ROWS).booster.save_raw()
    assert len(seen) == here(ROWS).rounds == 7


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
        Boosting(MODEL.model_copy(update={"params": params}), ROWS, 1, 1)([ROWS])

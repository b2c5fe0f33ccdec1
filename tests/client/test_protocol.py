"""Rows as somebody has them in a notebook: what is missing there is missing in the request."""

import math
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

from sporeprint.client.protocol import predict, predict_batch
from sporeprint.errors import UsageError

FRAME = pd.DataFrame({"cap-shape": ["x", None], "cap-diameter": [5.0, math.nan]})
ROWS = [{"cap-shape": "x", "cap-diameter": 5.0}, {"cap-shape": None, "cap-diameter": None}]


def sent(rows: Any) -> Any:
    import json

    request = next(predict_batch(rows, idempotency_key="k"))
    return json.loads(request.content)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rows",
    [
        FRAME,
        FRAME.convert_dtypes(),
        FRAME.to_dict("records"),
        FRAME.convert_dtypes().to_dict("records"),
        [row for _, row in FRAME.iterrows()],
        pl.DataFrame(ROWS),
        pl.DataFrame(ROWS).to_arrow(),
        iter(ROWS),
    ],
    ids=["frame", "nullable", "records", "nullable records", "series", "polars", "arrow", "iterator"],
)
def test_rows_of_any_library(rows: Any) -> None:
    assert sent(rows) == ROWS


def test_one_row() -> None:
    options: Any = {"explain": False, "model": None, "ab_test": None, "unit": None, "idempotency_key": "k"}
    for row in (FRAME.iloc[1], {"cap-shape": pd.NA, "cap-diameter": pd.NaT}):
        request: Any = next(predict(row, **options))
        assert request.content == b'{"cap-shape":null,"cap-diameter":null}'


def test_what_is_no_row() -> None:
    with pytest.raises(UsageError, match="expected rows with features by name"):
        sent(["cap-shape"])

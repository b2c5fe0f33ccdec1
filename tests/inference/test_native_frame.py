"""Frames of any library become Polars frames."""

import datetime as dt
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

from sporeprint.inference.native_frame import object_text, polars_frame


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, None), (pd.NA, None), (pd.NaT, None), (float("nan"), None), (np.float32("nan"), None)),
        *(("x", "x"), (True, "true"), (np.bool_(False), "false"), (2.0, "2"), (np.int64(2), "2"), (0.1, "0.1"), (np.float64(1.5), "1.5")),
        (dt.date(2024, 3, 5), "2024-03-05"),
    ],
)
def test_a_value_as_a_file_would_hold_it(value: Any, text: str | None) -> None:
    assert object_text(value) == text


def test_a_column_of_several_types_changes_no_other() -> None:
    frame = pd.DataFrame(
        {
            "mixed": [1, "x", pd.NA],
            "ok": pd.array([True, None, False], dtype="boolean"),
            "size": [0.5, 1.5, None],
            "day": pd.to_datetime(["2024-03-05", None, "2024-03-07"]),
        }
    )
    found = polars_frame(nw.from_native(frame, eager_only=True))
    assert found["mixed"].to_list() == ["1", "x", None]
    assert found["ok"].to_list() == [True, None, False]
    assert found.schema["size"] == pl.Float64
    assert found.schema["day"].is_temporal()

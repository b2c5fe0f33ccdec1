"""UBJSON as XGBoost writes it; what is none is refused, whatever it is."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.models.ubjson import loads


def plain(value: Any) -> Any:
    """With lists in place of arrays."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module", params=["gbtree", "dart"])
def model(request: pytest.FixtureRequest) -> xgboost.Booster:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(400, 6)).astype(np.float32)
    params = {"objective": "binary:logistic", "booster": request.param, "seed": 1, "nthread": 1}
    return xgboost.train(params, xgboost.DMatrix(X, (X[:, 0] * X[:, 1] > 0).astype(int), nthread=1), num_boost_round=12)


def test_a_model_reads_as_xgboost_says_it_in_json(model: xgboost.Booster) -> None:
    wanted = json.loads(bytes(model.save_raw("json")))
    found = plain(loads(bytes(model.save_raw("ubj"))))

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list):
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        # JSON has the shortest text of a single-precision number.
        return bool(np.float32(a) == np.float32(b)) if isinstance(a, float) else bool(a == b)

    assert same(wanted, found)


def test_a_model_cut_short_or_altered_is_refused_or_read(model: xgboost.Booster) -> None:
    data = bytes(model.save_raw("ubj"))
    for cut in range(0, len(data) - 1, 97):
        with pytest.raises(ValueError, match="not UBJSON"):
            loads(data[:cut])
    with pytest.raises(ValueError, match="1 bytes are left after the value"):
        loads(data + b"x")


@given(st.binary(max_size=200))
def test_whatever_it_is_it_is_read_or_refused(data: bytes) -> None:
    # Nothing else is raised: no index, no struct, no recursion.
    with contextlib.suppress(ValueError):
        loads(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"T", True),
        (b"F", False),
        (b"Z", None),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"I\x01\x00", 256),
        (b"l" + struct.pack(">i", -70_000), -70_000),
        (b"L" + struct.pack(">q", 1 << 40), 1 << 40),
        (b"d" + struct.pack(">f", 0.5), 0.5),
        (b"D" + struct.pack(">d", 0.1), 0.1),
        (b"Ca", "a"),
        (b"Si\x02ab", "ab"),
        (b"[i\x01T]", [1, True]),
        (b"[#i\x02i\x01i\x02", [1, 2]),
        (b"[$d#i\x01" + struct.pack(">f", 2.0), [2.0]),
        (b"{i\x01ai\x05}", {"a": 5}),
        (b"{#i\x01i\x01bSi\x00", {"b": ""}),
        (b"[]", []),
        (b"{}", {}),
    ],
)
def test_each_kind_of_value(data: bytes, value: Any) -> None:
    assert plain(loads(data)) == value


@pytest.mark.parametrize(
    "data", [b"", b"x", b"i", b"Si\x05ab", b"[i\x01", b"[$d", b"[$dx", b"[$d#i\x7f\x00", b"[#i\xff", b"{i\x01", b"[" * 100]
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="not UBJSON"):
        loads(data)

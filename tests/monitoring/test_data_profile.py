"""Profiles: every kind of value is counted, parts add up to the whole, and what is written is read again."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.common.npz import to_npz
from sporeprint.monitoring import data_profile as profiles
from sporeprint.monitoring.data_profile import ColumnSpec, NominalProfile, NumericProfile, Profile, bounded, of_codes, profile
from sporeprint.schema import Kind
from support import NUMERIC, OPEN, codes, dataset, nominal

WANTED = {"size": ColumnSpec(Kind.NUMERIC), "shape": ColumnSpec(Kind.NOMINAL, frozenset("ab")), "place": ColumnSpec(Kind.NOMINAL)}
Row = tuple[str | None, str | None, str | None]
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from(["1.5", "2", "nan", "x"])),
        st.one_of(st.none(), st.sampled_from("ab?")),
        st.sampled_from(["in", "out", ""]),
    ),
    max_size=12,
)


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(WANTED, pl.String), orient="row")


def test_every_kind_of_value_is_counted() -> None:
    found = profile(frame([("1.5", " a", "in"), ("nan", "?", ""), (None, None, "in"), ("1.5", "a", " ")]), WANTED, unreadable=2)
    size, shape, place = found.columns["size"], found.columns["shape"], found.columns["place"]
    assert isinstance(size, NumericProfile)
    assert (size.histogram.values.tolist(), size.histogram.counts.tolist(), size.missing, size.invalid) == ([1.5], [2], 2, 0)
    assert shape == NominalProfile({"a": 2, "?": 1}, 1, 0, frozenset("ab"))
    assert place == NominalProfile({"in": 2}, 2)
    assert (found.rows, found.unreadable, shape.present, size.present) == (4, 2, 3, 2)


@given(ROWS, ROWS)
def test_parts_add_up_and_are_read_as_they_were_written(a: list[Row], b: list[Row]) -> None:
    whole = profile(frame([*a, *b]), WANTED)
    added = profile(frame(a), WANTED) + profile(frame(b), WANTED)
    assert added.to_bytes() == whole.to_bytes()
    assert Profile.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()


def test_coded_rows_give_the_profile_of_their_frame() -> None:
    schema = dataset({"size": NUMERIC, "shape": nominal("a", "b"), "place": OPEN})
    columns: dict[str, list[Any]] = {"size": [1.5, None, 2.0], "shape": ["a", None, "b"], "place": ["in", "out", None]}
    wanted = {name: ColumnSpec(column.kind, frozenset(column.values or ())) for name, column in schema.columns.items()}
    made = of_codes(codes(columns, schema), {"shape": frozenset("ab")})
    plain = profile(pl.DataFrame(columns, schema={"size": pl.Float64, "shape": pl.String, "place": pl.String}), wanted)
    assert {name: made.columns[name] for name in ("shape", "place")} == {name: plain.columns[name] for name in ("shape", "place")}
    assert made.only(["size"]).to_bytes() == plain.only(["size"]).to_bytes()


def test_values_without_end_are_counted_together_whatever_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MOST_NAMED", 3)
    known = frozenset("a")
    parts = [bounded({value: 1, "a": 2}, 0, 0, known) for value in "bcdef"]
    forwards, backwards = sum(parts[1:], start=parts[0]), sum(parts[:-1][::-1], start=parts[-1])
    assert forwards == backwards == NominalProfile({"a": 10}, 0, 5, known)


def test_what_cannot_be_added_or_read_is_said() -> None:
    a, b = profile(frame([]), WANTED), profile(frame([]), {"size": WANTED["shape"]})
    with pytest.raises(ValueError, match="not in both: place, shape"):
        a + b
    with pytest.raises(ValueError, match="'size' is numeric in one profile and nominal in the other"):
        a.only(["size"]) + b
    with pytest.raises(ValueError, match="no archive"):
        Profile.from_bytes(b"PK")
    with pytest.raises(ValueError, match="no profile"):
        Profile.from_bytes(to_npz({"keys0": np.zeros(1)}))


def test_numbers_that_are_none_are_invalid() -> None:
    found = profiles.of_numbers(np.array([0.5, np.nan, np.inf]))
    assert (found.present, found.invalid, found.missing) == (1, 2, 0)

"""What a column holds, from its values."""

from collections.abc import Sequence

import polars as pl
import pytest

from sporeprint.ingestion.column_inference import ColumnForm, ColumnRole, infer_column

CODES = ["a", "b", "c"] * 40
FORM = ("missing", "decimal", "thousands", "strip")


def form(values: Sequence[str | None], name: str = "x") -> ColumnForm:
    return infer_column(name, pl.Series(name, list(values), dtype=pl.String))


@pytest.mark.parametrize(
    ("values", "role"),
    [
        ([str(number / 8) for number in range(100)], ColumnRole.NUMERIC),
        (["0", "1"] * 50, ColumnRole.NUMERIC),
        (CODES, ColumnRole.NOMINAL),
        ([f"u{number}" for number in range(100)], ColumnRole.ID),
        ([f"some words {number}" for number in range(100)], ColumnRole.TEXT),
        ([str(number) for number in range(1000, 1100)], ColumnRole.ID),
        ([str(number * 7919 % 1009) for number in range(1, 500)], ColumnRole.ID),  # half of the numbers to 1,008, shuffled
        ([str(number * 7919 % 10_007) for number in range(1, 120)], ColumnRole.NUMERIC),  # all different by chance
        ([f"2026-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 9)], ColumnRole.DATE),
        ([f"{day:02}.{month:02}.2026" for month in range(1, 13) for day in range(1, 9)], ColumnRole.DATE),
        ([None] * 10, ColumnRole.EMPTY),
        (["NA", "nan"] * 10, ColumnRole.EMPTY),
        (["same"] * 60, ColumnRole.CONSTANT),
        (["7"] * 60, ColumnRole.CONSTANT),
    ],
)
def test_roles(values: list[str | None], role: ColumnRole) -> None:
    assert form(values).role is role


def test_groups_have_a_name_and_several_rows_each() -> None:
    patients = [str(1000 + number % 30) for number in range(300)]
    assert form(patients, "patient_id").role is ColumnRole.GROUP
    assert form(patients, "weight").role is ColumnRole.NUMERIC
    assert form(["f" + patient for patient in patients], "family").role is ColumnRole.NOMINAL


@pytest.mark.parametrize(
    ("values", *FORM),
    [
        (["1.5", "?", "2", "NA"], ("?",), ".", "", ()),
        (["1", "-", "3", "5"], ("-",), ".", "", ()),
        (["1.5", "-999", "2"], ("-999",), ".", "", ()),
        (["1,5", "2,25", "3"], (), ",", "", ()),
        (["1.299,99", "5,00"], (), ",", ".", ()),
        (["2,334.41", "12", "1,234"], (), ".", ",", ()),
        (["1,234", "5,678"], (), ".", ",", ()),
        (["23.3%", "5 %"], (), ".", "", ("%",)),
        (["€1335.76", "€990.19"], (), ".", "", ("€",)),
        (["64 months", "7 months", "?"], ("?",), ".", "", ("months",)),
    ],
)
def test_how_numbers_are_written(
    values: list[str | None], missing: tuple[str, ...], decimal: str, thousands: str, strip: tuple[str, ...]
) -> None:
    found = form(values * 20)
    assert found.role is ColumnRole.NUMERIC
    assert (found.missing, found.decimal, found.thousands, found.strip) == (missing, decimal, thousands, strip)


def test_negative_numbers_are_not_missing() -> None:
    assert form(["-999", "-5", "3"] * 20).missing == ()


def test_words_for_missing_among_codes() -> None:
    found = form([*CODES, "?", "?", "NA", None])
    assert (found.role, found.missing, found.distinct) == (ColumnRole.NOMINAL, ("?", "NA"), 3)

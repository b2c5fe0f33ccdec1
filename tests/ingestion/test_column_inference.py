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
        (["same"] * 600 + [None], ColumnRole.CONSTANT),
        (["7"] * 600 + [None], ColumnRole.CONSTANT),
        (["same"] * 60 + [None] * 10, ColumnRole.NOMINAL),
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
        (["1 year", "3 years"], (), ".", "", ("year", "years")),
        (["1.299,99 €", "5,00 €"], (), ",", ".", ("€",)),
        (["EUR 1,299.99", "EUR 5.00"], (), ".", ",", ("EUR",)),
    ],
)
def test_how_numbers_are_written(
    values: list[str | None], missing: tuple[str, ...], decimal: str, thousands: str, strip: tuple[str, ...]
) -> None:
    found = form(values * 20)
    assert found.role is ColumnRole.NUMERIC
    assert (found.missing, found.decimal, found.thousands, found.strip) == (missing, decimal, thousands, strip)


def test_words_in_any_language_stand_for_missing_among_many_numbers() -> None:
    numbers = [f"{number * 37}" for number in range(100, 160)]
    found = form([*numbers, "keine Angabe", "keine Angabe", "k.A.", "k.A."])
    assert (found.role, set(found.missing)) == (ColumnRole.NUMERIC, {"keine Angabe", "k.A."})
    priced = form([*(f"1.{number}.{number},00 €" for number in range(100, 160)), *["k.A."] * 5])
    assert (priced.role, priced.missing, priced.strip) == (ColumnRole.NUMERIC, ("k.A.",), ("€",))
    days = [f"{month:02}/{day:02}/19" for month in range(1, 13) for day in range(13, 20)]
    seen = form([*days, *["never"] * 9, None])
    assert (seen.role, seen.missing, seen.date_format) == (ColumnRole.DATE, ("never",), "%m/%d/%y")
    assert seen.missing_share == pytest.approx(10 / 94)
    digits = form([*(f"2021{month:02}{day:02}" for month in range(1, 13) for day in range(1, 9)), *["nie"] * 9])
    assert (digits.role, digits.missing, digits.date_format) == (ColumnRole.DATE, ("nie",), "%Y%m%d")
    assert form([*numbers, "Total"]).missing == ()  # once: a mistake
    assert form(["1", "2", "3", "X"] * 20).role is ColumnRole.NOMINAL  # few numbers: codes


def test_letters_that_differ_are_no_units() -> None:
    """Two units are two scales, and 12a is not 12b: nothing is taken off."""
    assert form([f"{number}{letter}" for number in range(1, 15) for letter in "ab"] * 4).role is ColumnRole.NOMINAL
    assert form(["5 kg", "500 g", "2 kg", "750 g"] * 20).role is ColumnRole.NOMINAL
    assert form(["1st", "2nd", "3rd"] * 20).role is ColumnRole.NOMINAL


def test_negative_numbers_are_not_missing() -> None:
    assert form(["-999", "-5", "3"] * 20).missing == ()


def test_words_for_missing_among_codes() -> None:
    found = form([*CODES, "?", "?", "NA", None])
    assert (found.role, found.missing, found.distinct) == (ColumnRole.NOMINAL, ("?", "NA"), 3)

"""Tests of sporeprint.web.names: names in lower case become words, a table's own spelling stands."""

import pytest

from sporeprint.web.names import label_of, plural, spaced


@pytest.mark.parametrize(
    ("name", "words", "label"),
    [
        ("does-bruise_or-bleed", "does bruise or bleed", "Does bruise or bleed"),
        ("visit time", "visit time", "Visit time"),
        ("größe_cm", "größe cm", "Größe cm"),
        ("E-Mail?", "E-Mail?", "E-Mail?"),
        ("e-mail?", "e-mail?", "E-mail?"),
        ("Total_Bill", "Total_Bill", "Total_Bill"),
        ("kWh a day", "kWh a day", "kWh a day"),
        ("t-5 to t-1", "t-5 to t-1", "T-5 to t-1"),
        ("_", " ", ""),
    ],
)
def test_names_as_people_read_them(name: str, words: str, label: str) -> None:
    assert (spaced(name), label_of(name)) == (words, label)


def test_more_than_one() -> None:
    words = ("patient", "family", "day", "species", "y")
    assert [plural(word) for word in words] == ["patients", "families", "days", "species", "ys"]

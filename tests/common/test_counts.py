"""One unit, not one units."""

import pytest

from sporeprint.common.counts import number_of


@pytest.mark.parametrize(("count", "text"), [(0, "0 units"), (1, "1 unit"), (2, "2 units"), (12_408, "12,408 units")])
def test_a_count_has_its_word(count: int, text: str) -> None:
    assert number_of(count, "unit") == text

"""Charts are numbers drawn; texts in them are escaped."""

import pytest

from sporeprint.web.charts import BarPart, share_bar
from sporeprint.web.pages import moment, number, share


def test_a_bar_shares_its_whole_width() -> None:
    drawn = share_bar([BarPart(1, "warn", "a"), BarPart(3, "good", "b"), BarPart(0, "soft", "c")], "one <of> four")
    assert 'class="warn" x="0.00" y="0" width="25.00"' in drawn
    assert 'class="good" x="25.00" y="0" width="75.00"' in drawn
    assert 'class="soft"' not in drawn
    assert "one &lt;of&gt; four" in drawn


def test_nothing_has_no_parts() -> None:
    assert share_bar([BarPart(0, "warn", "a")], "none").count("<rect") == 1


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number(12408), "12,408"),
        (number(0.01324), "0.01324"),
        (share(0.9958), "99.6 %"),
        (share(0.0001), "0.01 %"),
        (share(1), "100 %"),
        (moment("2026-11-28T19:03:09Z"), "28 Nov 2026, 19:03 UTC"),
        (moment(1_767_225_600_000_000), "1 Jan 2026, 00:00 UTC"),
    ],
)
def test_numbers_and_times_are_for_people(shown: str, text: str) -> None:
    assert shown == text

"""What somebody asks for: windows, times with zones, slices; and what makes no sense is refused with what to do."""

from datetime import UTC, datetime, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.errors import UsageError
from sporeprint.monitoring.windows import HOUR_US, WindowRequest, parse_duration, parse_instant, parse_slice, requested_window
from support import NUMERIC, OPEN, dataset, nominal

SCHEMA = dataset({"cap-shape": nominal("b", "x"), "size": NUMERIC, "smell": OPEN})
#: 2026-03-29 10:20 UTC.
NOW_US = round(datetime(2026, 3, 29, 10, 20, tzinfo=UTC).timestamp() * 1e6)
DAY_US = 24 * HOUR_US


def test_a_time_has_a_zone() -> None:
    assert (
        parse_instant("2026-03-29T03:00+02:00", "--from")
        == parse_instant("2026-03-29T01:00Z", "--from")
        == parse_instant("2026-03-29T01:00+00:00", "x")
    )
    for text in ("2026-03-29T02:30", "2026-03-29"):
        with pytest.raises(UsageError, match=r"--from is '2026-03-29.*', without a time zone; add Z for UTC"):
            parse_instant(text, "--from")
    for text in ("yesterday", "", "1969-12-31T00:00Z", "0001-01-01T00:00+10:00"):
        with pytest.raises(UsageError, match=r"--to is '.*'(; expected|, without)"):
            parse_instant(text, "--to")


def test_the_night_a_clock_is_put_forward_has_an_hour_less() -> None:
    found = requested_window(
        WindowRequest(begin_us=parse_instant("2026-03-29T00:00+01:00", "x"), end_us=parse_instant("2026-03-29T12:00+02:00", "x")),
        NOW_US,
        DAY_US,
    )
    assert found.length_us == 11 * HOUR_US
    assert found.whole
    assert found.description == "answers from 2026-03-28 23:00 UTC to 2026-03-29 10:00 UTC"


@given(st.integers(31_536_000, 7_000_000_000), st.timezones())
def test_an_instant_is_the_same_in_every_zone(seconds: int, zone: tzinfo) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert parse_instant(at.astimezone(zone).isoformat(), "x") == parse_instant(at.isoformat(), "x") == seconds * 1_000_000


@pytest.mark.parametrize(("text", "hours"), [("90s", 0.025), ("90m", 1.5), ("24h", 24), (" 7d ", 168), ("4w", 672)])
def test_a_length_of_time(text: str, hours: float) -> None:
    assert parse_duration(text, "--last") == hours * HOUR_US


@pytest.mark.parametrize("text", ["", "24", "0h", "-1h", "1.5h", "1y", "999999999w"])
def test_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="--last is"):
        parse_duration(text, "--last")


def test_windows() -> None:
    day = requested_window(WindowRequest(last_us=DAY_US), NOW_US, HOUR_US)
    assert (day.kind, day.whole, day.length_us, day.end_us) == ("last 24h", True, DAY_US, NOW_US - 20 * 60_000_000)
    assert requested_window(WindowRequest(), NOW_US, DAY_US) == day
    part = requested_window(WindowRequest(last_us=HOUR_US * 3 // 2), NOW_US, HOUR_US)
    assert (part.kind, part.whole, part.end_us) == ("last 90m", False, NOW_US)
    assert [requested_window(WindowRequest(last_us=seconds * 1_000_000), NOW_US, 1).kind for seconds in (90, 120, 7200)] == [
        "last 90s",
        "last 2m",
        "last 2h",
    ]
    newest = requested_window(WindowRequest(rows=1000), NOW_US, HOUR_US)
    assert (newest.kind, newest.whole) == ("newest 1,000", False)
    assert newest.description == "the newest 1,000 answers before 2026-03-29 10:20 UTC"
    assert requested_window(WindowRequest(begin_us=NOW_US - 2 * DAY_US), NOW_US, HOUR_US).end_us == NOW_US
    assert requested_window(WindowRequest(begin_us=0), NOW_US, HOUR_US).whole


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (WindowRequest(last_us=DAY_US, rows=5), "--last and --rows each say what the window is"),
        (WindowRequest(end_us=NOW_US), "--to needs --from"),
        (WindowRequest(rows=0), "--rows is 0"),
        (WindowRequest(begin_us=NOW_US - HOUR_US, end_us=NOW_US - HOUR_US), "not after it begins"),
        (WindowRequest(begin_us=NOW_US + HOUR_US), "not after it begins"),
        (WindowRequest(begin_us=0, end_us=NOW_US + HOUR_US), "nobody knows the future"),
    ],
)
def test_no_window(asked: WindowRequest, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        requested_window(asked, NOW_US, HOUR_US)


def test_slices() -> None:
    assert parse_slice(["cap-shape=x", "size=1..5"], SCHEMA) == parse_slice(["size=1..5", "cap-shape=x"], SCHEMA)
    assert parse_slice(["cap-shape=x", "cap-shape=b", "cap-shape="], SCHEMA).description == "cap-shape=x|b|"
    assert parse_slice(["size=5"], SCHEMA).description == "size=5"
    assert parse_slice(["size=..5"], SCHEMA).conditions[0].between == (float("-inf"), 5)
    assert parse_slice(["smell=anything = at all"], SCHEMA).conditions[0].values == ("anything = at all",)
    assert not parse_slice([], SCHEMA)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cap-shape", "expected column=value"),
        ("cap-shap=x", r"no column 'cap-shap' \(did you mean 'cap-shape'\?\); there are cap-shape, size, smell"),
        ("cap-shape=q", "cap-shape has no value 'q'.*; there are b"),
        ("size=big", "expected a number or a range"),
        ("size=5..1", "expected a number or a range"),
        ("size=nan", "expected a number or a range"),
        ("size=inf", "expected a number or a range"),
    ],
)
def test_no_slice(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_slice([text], SCHEMA)


def test_a_range_is_given_once() -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_slice(["size=1", "size=2"], SCHEMA)

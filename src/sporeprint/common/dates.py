"""Dates as numbers: days since 1970-01-01, with the time of day as a fraction, in UTC."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

#: The first day of year 1 and the last of year 9999: what a calendar can say.
EARLIEST, LATEST = -719_162.0, 2_932_897.0
#: What can be read off a date, beside the day itself, and the middle and half the width of its values.
PARTS = {"month": (6.5, 5.5), "weekday": (3.0, 3.0), "hour": (11.5, 11.5)}

#: Microseconds of a day.
DAY_US = 86_400_000_000
#: ISO 8601, with a blank for its T: the day, with the time, with the offset from UTC.
ISO_FORMATS = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Float64 = npt.NDArray[np.float64]


def date_text(days: float) -> str:
    """The ISO 8601 text of a day number; with the time of day, to the second, where it has one."""
    if not EARLIEST <= days < LATEST:
        return f"{days:g}"
    moment = _EPOCH + timedelta(seconds=round(days * 86_400))
    return moment.date().isoformat() if days == int(days) else moment.replace(tzinfo=None).isoformat()


def date_part(days: Float64, part: str) -> Float64:
    """A part of dates, scaled to -1 to 1; 0 where the number is no date.

    Args:
        days: float64 [n], day numbers.
        part: one of `PARTS`: month, weekday (Monday first) or hour.
    """
    valid = (days >= EARLIEST) & (days < LATEST)
    usable = np.where(valid, days, 0.0)
    whole = np.floor(usable)
    if part == "month":
        values = whole.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1.0
    elif part == "weekday":
        values = (whole + 3) % 7  # 1970-01-01 was a Thursday
    else:
        values = (usable - whole) * 24
    middle, half = PARTS[part]
    scaled: Float64 = np.where(valid, (values - middle) / half, 0.0)
    return scaled


def days_written(text: pl.Series, written: str) -> pl.Series:
    """Texts as day numbers, null where they are not written so."""
    if written in ISO_FORMATS:
        text = text.str.replace(r"^([0-9-]{10})T", "$1 ").str.replace(r"(?i)(:[0-9.]+)Z$", "$1+00:00")
    if re.search("%[HIMSpTRXcs]", written):
        moment = text.str.to_datetime(written, strict=False, time_unit="us")
    else:
        moment = text.str.to_date(written, strict=False).cast(pl.Datetime("us"))
    if "%Y" in written:  # also takes two digits, for the years 0 to 99
        moment = moment.to_frame().select(pl.when(pl.first().dt.year() >= 1000).then(pl.first())).to_series()
    return moment.cast(pl.Int64).cast(pl.Float64) / DAY_US

"""What a column of text holds: numbers, codes, dates, identifiers or text, and how its numbers and missing values are written."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import polars as pl

from sporeprint.common.dates import ISO_FORMATS, days_written
from sporeprint.schema import MISSING_NUMBERS, NUMBER, WIDE_BLANKS

#: Texts that stand for a missing value in a column of codes.
MISSING_CODES = ("?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "-", "--", ".", "(null)", "\\N")
#: Numbers that stand for a missing value, where all others of the column are not negative.
SENTINELS = ("-999", "-9999", "-99999", "-999.0", "-9999.0")
#: The minus sign of typesetters.
MINUS = "\u2212"
#: So many different days make a column of eight digits one of dates.
LEAST_DAYS = 20
#: Most words that stand for missing in a column of numbers, and how many different numbers there must be.
MOST_WORDS, LEAST_NUMBERS = 3, 20
#: Share of a column's values that must be of a kind.
NEARLY_ALL = 0.98
#: From so many different values, and such a share of the rows, a column of codes is text or identifies the row.
MANY, MANY_SHARE = 50, 0.5
#: Whole numbers that are all different where that is less likely than this, were they measured, are numbers of the rows.
DIFFERENT_BY_CHANCE = 1e-6
#: Rows of a column that are looked at, evenly over the sample.
MOST_ROWS = 20_000
#: Longest text that is a code: longer ones are text.
LONG_TEXT = 60

_WRITTEN = re.compile(
    r"([€$£¥]|EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CZK|INR|BRL|CAD|AUD)?\s*"
    r"([+-]?[0-9][0-9.,' ]*|[+-]?\.[0-9]+)\s*([%€$£¥]|[^\W\d_][\w/²³µ°]{0,15})?"
)
#: Blanks and apostrophes as typesetters write them, for those of a keyboard.
_SIGNS = str.maketrans(dict.fromkeys(WIDE_BLANKS, " ") | {"\u2019": "'"})
_IN_PARENTHESES = re.compile(r"\(([^()]*[0-9][^()]*)\)")
_DAY_DIGITS = re.compile("(19|20)[0-9]{6}")
_GROUP_NAME = re.compile(
    r"(?i)(.*[_ ])?(patient|subject|person|user|customer|client|device|machine|site|species|household|account|group|participant)s?"
    r"([_ ]?(id|no|nr|number))?"
)
_ID_NAME = re.compile(r"(?i)(.*[_ ]|)(id|uuid|guid|index|key|row_?(id|number|nr|no)?|unnamed: ?0)")
#: How dates are written beside ISO 8601, the likelier first.
_DAYS = (
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%Y.%m.%d",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
)
_TIMES = ("", " %H:%M:%S%.f", " %H:%M", "T%H:%M:%S%.f", " %I:%M:%S %p", " %I:%M %p", "T%H:%M", "%z")


class ColumnRole(StrEnum):
    """What a column is for."""

    NUMERIC = "numeric"
    NOMINAL = "nominal"
    DATE = "date"
    ID = "identifier"
    TEXT = "text"
    GROUP = "group"
    EMPTY = "empty"
    CONSTANT = "constant"
    UNNAMED = "without a name of its own"


@dataclass(frozen=True)
class ColumnForm:
    """What a column holds and how it is written.

    Attributes:
        role: what it is for.
        missing: texts that stand for a missing value, beside those that always do.
        missing_share: share of the rows without a value.
        distinct: different values.
        decimal: the decimal sign.
        thousands: the sign between thousands; empty: none.
        strip: units and signs around the number.
        minus: the sign of negative numbers; (): parentheses.
        date_format: how a date is written; None: as ISO 8601 says.
        ambiguous: whether day and month of its dates may change places.
    """

    role: ColumnRole
    missing: tuple[str, ...] = ()
    missing_share: float = 0.0
    distinct: int = 0
    decimal: str = "."
    thousands: str = ""
    strip: tuple[str, ...] = ()
    minus: str = "-"
    date_format: str | None = None
    ambiguous: bool = False


def infer_column(name: str, values: pl.Series) -> ColumnForm:
    """The form of a column.

    Args:
        name: its name.
        values: String [n], blanks trimmed, null where empty.
    """
    values = values.gather_every(max(1, -(-len(values) // MOST_ROWS)))
    present = values.drop_nulls()
    counts = present.value_counts(sort=True, name="rows")
    rows = len(values)
    texts: list[str] = counts[values.name].to_list()
    if not texts or all(text.lower() in MISSING_NUMBERS for text in texts):
        return ColumnForm(ColumnRole.EMPTY, missing_share=1.0)
    rows_of = dict(counts.iter_rows())
    words = _words_for_missing(texts, rows_of)
    days = [text for text in texts if text not in words]
    without_day = 1 - sum(rows_of[text] for text in days) / rows
    if len(days) >= LEAST_DAYS and all(map(_DAY_DIGITS.fullmatch, days)) and _are_written(days, "%Y%m%d"):
        return ColumnForm(ColumnRole.DATE, words, without_day, len(days), date_format="%Y%m%d")
    if (form := _numeric(texts, rows_of, rows)) is not None:
        return _as_identifier(name, form, present, rows)
    missing = tuple(word for word in MISSING_CODES if word in rows_of)
    codes = [text for text in texts if text not in missing]
    lost = 1 - sum(rows_of[text] for text in codes) / rows
    form = ColumnForm(ColumnRole.NOMINAL, missing, lost, len(codes))
    if not codes:
        return ColumnForm(ColumnRole.EMPTY, missing, 1.0)
    if len(codes) == 1 and lost < 1 - NEARLY_ALL:  # empty in a line of totals, say
        return ColumnForm(ColumnRole.CONSTANT, missing, lost, 1)
    days = [text for text in codes if text not in words]
    if days and (written := _date_format(days)) is not None:
        swapped = written.replace("%m/%d", "%d/%m")
        ambiguous = swapped != written and _are_written(days, swapped)
        absent = tuple(dict.fromkeys((*missing, *words)))
        without_day = 1 - sum(rows_of[text] for text in days) / rows
        return ColumnForm(ColumnRole.DATE, absent, without_day, len(days), date_format=written or None, ambiguous=ambiguous)
    known = rows * (1 - lost)
    if _GROUP_NAME.fullmatch(name) and MANY_SHARE / 25 < len(codes) / known <= MANY_SHARE and len(codes) > 2:
        return ColumnForm(ColumnRole.GROUP, missing, lost, len(codes))
    if len(codes) >= MANY and len(codes) > MANY_SHARE * known:
        return ColumnForm(
            ColumnRole.ID if all(len(text) <= LONG_TEXT and " " not in text for text in codes[:200]) else ColumnRole.TEXT,
            missing,
            lost,
            len(codes),
        )
    if len(codes) >= MANY and sum(map(len, codes)) > LONG_TEXT * len(codes):
        return ColumnForm(ColumnRole.TEXT, missing, lost, len(codes))
    return form


def _as_identifier(name: str, form: ColumnForm, present: pl.Series, rows: int) -> ColumnForm:
    """The form of a column of numbers, as an identifier, a group or a constant where it is one."""
    numbers = form.distinct
    if numbers <= 1 and form.missing_share < 1 - NEARLY_ALL:
        return ColumnForm(ColumnRole.CONSTANT, form.missing, form.missing_share, numbers)
    whole = form.strip == () and form.decimal == "." and present.str.contains(r"^[0-9]+$").all()
    if not whole:
        return form
    if _GROUP_NAME.fullmatch(name) and 2 < numbers <= MANY_SHARE * rows:
        return ColumnForm(ColumnRole.GROUP, form.missing, form.missing_share, numbers)
    if numbers == len(present) >= MANY:
        values = present.cast(pl.Float64)
        # Draws from a range, however distributed, are all different with at most this probability (the birthday problem).
        chance = math.exp(-numbers * (numbers - 1) / 2 / (values.max() - values.min() + 1))  # type: ignore[operator]  # Polars' types
        if chance < DIFFERENT_BY_CHANCE or _ID_NAME.fullmatch(name):
            return ColumnForm(ColumnRole.ID, form.missing, form.missing_share, numbers)
    return form


def _numeric(texts: Sequence[str], rows_of: dict[str, int], rows: int) -> ColumnForm | None:
    """The form of a column of numbers; None where it is none."""
    minus = "()" if any(map(_IN_PARENTHESES.fullmatch, texts)) else MINUS if any(text.startswith(MINUS) for text in texts) else "-"
    if minus != "-":
        spelled: dict[str, int] = {}
        for text, count in rows_of.items():
            other = _IN_PARENTHESES.sub(r"-\1", text) if minus == "()" else text.replace(MINUS, "-", 1)
            spelled[other] = spelled.get(other, 0) + count
        form = _numeric([*spelled], spelled, rows)
        return None if form is None else replace(form, minus=minus)
    always = [text for text in texts if text.lower() in MISSING_NUMBERS]
    rest = [text for text in texts if text.lower() not in MISSING_NUMBERS]
    plain, words = re.compile(NUMBER), _words_for_missing(rest, rows_of)
    odd = [text for text in rest if not plain.match(text)]
    if len(odd) == len(rest) or sum(rows_of[text] for text in odd) > 0.6 * sum(rows_of[text] for text in rest):
        written = _written([text for text in rest if re.search(r"[0-9]", text)])
        others = [text for text in rest if not re.search(r"[0-9]", text)]
        if written is None or not all(_stands_for_missing(text) or text in words for text in others):
            return None
        decimal, thousands, strip = written
        missing, numbers = tuple(others), len(rest) - len(others)
    else:
        tokens = [text for text in odd if _stands_for_missing(text) or text in words]
        unread = [text for text in odd if text not in tokens]
        if sum(rows_of[text] for text in unread) > (1 - NEARLY_ALL) * rows:
            written = _written([text for text in rest if text not in tokens])
            if written is None:
                return None
            decimal, thousands, strip = written
        else:
            decimal, thousands, strip = ".", "", ()
        missing, numbers = tuple(tokens), len(rest) - len(tokens)
    if not numbers:
        return None
    sentinels = tuple(word for word in SENTINELS if word in rows_of)
    if sentinels and not any(text.startswith("-") for text in rest if text not in (*sentinels, *missing)):
        missing += sentinels
    lost = sum(rows_of[text] for text in (*always, *missing))
    empty = rows - sum(rows_of.values())
    return ColumnForm(ColumnRole.NUMERIC, missing, (lost + empty) / rows, numbers, decimal, thousands, strip)


def _stands_for_missing(text: str) -> bool:
    return text in MISSING_CODES or re.fullmatch(r"[^\w\s]{1,3}", text) is not None


def _words_for_missing(texts: Sequence[str], rows_of: dict[str, int]) -> tuple[str, ...]:
    """Words in any language that come again and again among many different numbers or days; one that is there once is a mistake."""
    words = tuple(sorted(text for text in texts if not re.search("[0-9]", text) and rows_of[text] > 1))
    return words if len(words) <= MOST_WORDS and len(texts) - len(words) >= LEAST_NUMBERS else ()


def _written(texts: Sequence[str]) -> tuple[str, str, tuple[str, ...]] | None:
    """Decimal sign, sign between thousands, and units, of numbers that are written another way; None where they are no numbers."""
    matches = [match for text in texts[:20_000] if (match := _WRITTEN.fullmatch(text.translate(_SIGNS)))]
    if not texts or len(matches) < NEARLY_ALL * min(len(texts), 20_000):
        return None
    units = {part for match in matches for part in (match[1], match[3]) if part}
    # One unit, in the singular and plural: two are two scales, or letters that are part of a code.
    if len({unit.lower().rstrip("s") for unit in units}) > 1 or any(re.fullmatch("[eE]", unit) for unit in units):
        return None
    cores = [match[2].strip() for match in matches]
    form = next((form for form in _forms(cores) if all(_fits(core, *form) for core in cores)), None)
    if form is None:
        return None
    return (*form, tuple(sorted(units)))


def _forms(cores: Sequence[str]) -> list[tuple[str, str]]:
    """Decimal sign and sign between thousands, the likeliest first."""
    forms = [(".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", " "), (".", "'")]
    # 1,234 alone may be either: three digits after every comma are thousands.
    commas = [core for core in cores if "," in core]
    if commas and not all(re.search(r",[0-9]{3}(?![0-9])", core) for core in commas):
        forms.remove((".", ","))
    return forms


def _fits(core: str, decimal: str, thousands: str) -> bool:
    end = rf"({re.escape(decimal)}[0-9]*)?"
    if re.fullmatch(rf"[+-]?[0-9]*{end}", core):
        return True
    return bool(thousands) and re.fullmatch(rf"[+-]?[0-9]{{1,3}}({re.escape(thousands)}[0-9]{{3}})+{end}", core) is not None


def _date_format(texts: Sequence[str]) -> str | None:
    """How dates are written, an empty text for ISO 8601; None where the texts are no dates."""
    if not re.match(r"[0-9]{1,4}[-./ ]|[A-Za-z]{3,9} [0-9]", texts[0]):
        return None
    if _are_written(texts, *ISO_FORMATS):
        return ""
    return next((day + time for day in _DAYS for time in _TIMES if _are_written(texts, day + time)), None)


def _are_written(texts: Sequence[str], *formats: str) -> bool:
    for size in (20, 5000):  # most formats are ruled out by a few texts
        sample = pl.Series(texts[:size], dtype=pl.String)
        days = pl.DataFrame([days_written(sample, each).alias(each) for each in formats]).select(pl.coalesce(pl.all())).to_series()
        if days.null_count() > (1 - NEARLY_ALL) * len(sample):
            return False
    return True

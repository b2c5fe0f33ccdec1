"""How values are written in files and requests: words for missing, decimal signs, units, codes as numbers. Read into one form.

The same rules for a whole frame (`normalised`) and for one value (`parse_number`, `parse_code`), so that training, files to score,
requests and monitoring read alike.
"""

import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime

import polars as pl

from sporeprint.common.dates import DAY_US, ISO_FORMATS, date_text, days_written
from sporeprint.schema import MISSING_NUMBERS, NUMBER, WIDE_BLANKS, Column, DatasetSchema, Kind, code_text, day_number


def normalised(frame: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    """A frame in which missing values are null, numbers are written plainly, and codes have one form.

    Args:
        frame: columns of the schema, as text or of their own types; others are left as they are.
        schema: the schema.
    """
    changes = []
    for name in frame.columns:
        if name == schema.target.column:
            changes += _codes(frame[name], schema.missing_words(name), schema.target.values, schema.target.aliases)
        elif (column := schema.columns.get(name)) is not None:
            missing = schema.missing_words(name)
            if column.kind is Kind.DATE:
                changes += _dates(frame[name], missing, column)
            elif column.kind is Kind.NUMERIC:
                changes += _numbers(frame[name], missing, column)
            else:
                changes += _codes(frame[name], missing, column.values or {}, {})
    return _counted_since(frame.with_columns(changes), {series.name for series in changes}, schema) if changes else frame


def words_as_codes(frame: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    """A frame to be scored in which words of nominal values are their codes: as `parse_row` reads one row.

    A code wins over a word. A text that is neither stays: it is for the verdict to say that nobody has seen it.
    """
    changes = []
    for name in schema.nominal:
        values = schema.columns[name].values
        if not values or frame.schema.get(name) != pl.String:
            continue
        allowed = [*values, *schema.missing_words(name)]
        if frame[name].is_in(allowed).fill_null(value=True).all():
            continue
        codes = {word: code for code, word in values.items()}
        text = pl.col(name).str.strip_chars()
        by_word = pl.coalesce(text.str.to_lowercase().replace_strict(codes, default=None), text.replace_strict(codes, default=None), name)
        changes.append(pl.when(text.is_in(allowed)).then(pl.col(name)).otherwise(by_word).alias(name))
    return frame.with_columns(changes) if changes else frame


def _codes(series: pl.Series, missing: Collection[str], values: Mapping[str, str], aliases: Mapping[str, str]) -> list[pl.Series]:
    """The column where it changes, in a list; an empty list where it does not."""
    text = series if series.dtype == pl.String else _as_text(series)
    if text is None:
        return []
    # Looking at how a text ends is fast; only a column in which one ends so is looked at further.
    if text is series and not missing and not aliases and not (text.str.ends_with(".0") | text.str.ends_with(".00")).any():
        return []
    forms = {code: form for code in text.unique().drop_nulls() if (form := parse_code(code, missing, values, aliases)) != code}
    if forms:
        text = text.replace(list(forms), list(forms.values()))
    return [] if text is series else [text]


def _as_text(series: pl.Series) -> pl.Series | None:
    """A column of numbers or booleans as text, whole numbers without a point; None for other types."""
    column, dtype = pl.col(series.name), series.dtype
    if dtype == pl.Boolean or dtype.is_integer():
        return series.cast(pl.String)
    if not dtype.is_float() and not dtype.is_decimal():
        return None
    number = column.cast(pl.Float64).fill_nan(None)
    whole = number.cast(pl.Int64, strict=False)
    text = pl.when(whole == number).then(whole.cast(pl.String)).when(number.is_not_null()).then(column.cast(pl.String))
    return series.to_frame().select(text.alias(series.name)).to_series()


def _numbers(series: pl.Series, missing: Collection[str], column: Column) -> list[pl.Series]:
    """The column where it changes, in a list. Text that is a plain number is left to `coded_frame`, which is fast."""
    special = [float(word) for word in missing if re.fullmatch(NUMBER, word)]
    value = pl.col(series.name)
    if series.dtype == pl.String:
        if not column.is_formatted and not missing:
            return []
        value = value.str.strip_chars()
        if missing:
            value = pl.when(~value.is_in(list(missing))).then(value)
        if column.is_formatted:
            value = _plain_number(value, column)
    elif not special or not series.dtype.is_numeric():
        return []
    if special:  # however it is written: -999 is -999.0
        value = pl.when(~value.cast(pl.Float64, strict=False).is_in(special).fill_null(value=False)).then(value)
    return [series.to_frame().select(value.alias(series.name)).to_series()]


def _dates(series: pl.Series, missing: Collection[str], column: Column) -> list[pl.Series]:
    """Dates as day numbers, NaN where a value is none; nothing where they are day numbers already."""
    if series.dtype.is_float():
        return []
    if series.dtype in (pl.Date, pl.Datetime):
        return [series.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) / DAY_US]
    text = (series.cast(pl.Categorical) if series.dtype == pl.Enum else series).cast(pl.String, strict=False).str.strip_chars()
    absent = text.is_null() | text.str.to_lowercase().is_in(["", *MISSING_NUMBERS]) | text.is_in(list(missing))
    days = pl.Series(series.name, [None] * len(text), dtype=pl.Float64)
    if not series.dtype.is_numeric() or (series.dtype.is_integer() and column.format):
        # `%y` would take the first two digits of a year for all of it.
        for written in ([column.format] if column.format else []) + ISO_FORMATS:
            if not (unread := days.is_null() & ~absent).any():
                break
            days = days.zip_with(~unread, days_written(text, written))
    return [days.zip_with(absent | days.is_not_null(), pl.Series([math.nan], dtype=pl.Float64))]


def _counted_since(frame: pl.DataFrame, made: Collection[str], schema: DatasetSchema) -> pl.DataFrame:
    """Day numbers as days since the date or column that the schema names, where they were made just now."""
    since = {name: column.since for name, column in schema.columns.items() if column.since is not None and name in made}
    return frame.with_columns(
        pl.col(name) - (pl.col(other) if other in frame.columns else _fixed_day(other, schema)) for name, other in since.items()
    )


def _fixed_day(since: str, schema: DatasetSchema) -> pl.Expr:
    return pl.lit(None if since in schema.columns else day_number(since), dtype=pl.Float64)


def _plain_number(text: pl.Expr, column: Column) -> pl.Expr:
    """A number as Python writes it. A sign where the column's form has none leaves a text that is no number."""
    if column.minus != "-":
        text = text.str.replace(*((r"^\((.*)\)$", "-$1") if column.minus == "()" else (f"^{column.minus}", "-")))
    for part in column.strip:
        text = text.str.replace_all(part.strip(), "", literal=True)
    text = text.str.strip_chars()
    if column.thousands == " ":
        text = text.str.replace_all(f"[{WIDE_BLANKS}]", " ")
    elif column.thousands == "'":
        text = text.str.replace_all("\u2019", "'", literal=True)
    if column.thousands:
        sign, decimal = re.escape(column.thousands), re.escape(column.decimal)
        grouped = text.str.contains(rf"^[+-]?[0-9]{{1,3}}({sign}[0-9]{{3}})+({decimal}[0-9]*)?$")
        text = pl.when(grouped).then(text.str.replace_all(column.thousands, "", literal=True)).otherwise(text)
    if column.decimal != ".":
        text = (
            pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(column.decimal, ".", literal=True)).otherwise(text + "!")
        )
    return pl.when(text != "").then(text)


def parse_code(value: object, missing: Collection[str], values: Mapping[str, str], aliases: Mapping[str, str]) -> str | None:
    """A nominal value in the form of the schema: a declared code where it is one; None where it is missing."""
    text = value.strip() if isinstance(value, str) else code_text(value)
    if not text or text in missing:
        return None
    if text in values:
        return text
    form = code_text(text)
    if form in values or form in aliases:
        return aliases.get(form, form)
    if text in aliases:
        return aliases[text]
    if text in {"true", "false"}:  # a boolean, for a code that is written True or TRUE
        return next((code for code in values if code.lower() == text), text)
    return form if not values else text


def parse_date(text: str, missing: Collection[str], column: Column) -> float | None:
    """The day number of a date as it is written in a column; None where it is missing.

    Raises:
        ValueError: it is no date.
    """
    days = _dates(pl.Series("x", [text], dtype=pl.String), missing, column)[0][0]
    if days is not None and math.isnan(days):
        raise ValueError(f"{text!r} is no date{date_form(column)}")
    result: float | None = days
    return result


def date_form(column: Column) -> str:
    """How a column's dates are written, as the end of a sentence."""
    if column.format is None:
        return " such as 2024-03-05 or 2024-03-05T14:30"
    return f" such as {datetime(2024, 3, 5, 14, 30).strftime(column.format)} ({column.format}) or 2024-03-05"  # noqa: DTZ001 -- in words only


def range_text(column: Column) -> str:
    """The limits of a column, as the end of a sentence; of dates as dates."""
    say = date_text if column.kind is Kind.DATE and column.since is None else "{:g}".format
    low = "" if column.min is None else f"at least {say(column.min)}"
    high = "" if column.max is None else f"at most {say(column.max)}"
    return f", allowed is {' and '.join(filter(None, (low, high)))}"


def parse_number(text: str, missing: Collection[str], column: Column) -> float | None:
    """A number as it is written in a column; None where it is missing.

    Raises:
        ValueError: it is no number.
    """
    frame = pl.Series("x", [text], dtype=pl.String)
    written = next(iter(_numbers(frame, missing, column)), frame)[0]
    if written is None or not written.strip() or written.strip().lower() in MISSING_NUMBERS:
        return None
    if not re.fullmatch(NUMBER, written.strip()) or not math.isfinite(number := float(written)):
        raise ValueError(f"{text!r} is not a finite number")
    return number

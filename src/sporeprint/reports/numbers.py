"""Numbers as reports say them: never a rounded 0 or a rounded 1."""

import math

from sporeprint.stats.intervals import Estimate

#: A number that is undefined, on a page.
UNDEFINED = "not defined"


def percent(share: float) -> str:
    """One digit, two near 0 and 1, and neither a rounded 0 nor a rounded 100."""
    if math.isnan(share):
        return UNDEFINED
    unit = "\N{NO-BREAK SPACE}%"
    if share in (0, 1):
        return f"{share * 100:.0f}{unit}"
    text = f"{share * 100:.{1 if 0.01 < share < 0.99 else 2}f}"
    bounds = {"0.00": "<\N{NO-BREAK SPACE}0.01", "100.00": ">\N{NO-BREAK SPACE}99.99"}
    return f"{bounds.get(text, text)}{unit}"


def decimal(value: float, digits: int = 4) -> str:
    """So many digits, and neither a rounded 0 nor a rounded 1."""
    if math.isnan(value):
        return UNDEFINED
    step = 10.0**-digits
    if 0 < value < step / 2:
        return f"<\N{NO-BREAK SPACE}{step:.{digits}f}"
    if 1 - step / 2 <= value < 1:
        return f">\N{NO-BREAK SPACE}{1 - step:.{digits}f}"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def estimate(number: Estimate, *, share: bool = False) -> str:
    """An estimate without its interval."""
    return percent(number.value) if share else decimal(number.value)


def interval(number: Estimate, *, share: bool = False) -> str:
    """Both ends of an interval, or nothing where it is undefined."""
    if math.isnan(number.low) or math.isnan(number.high):
        return ""
    shown = percent if share else decimal
    return f"{shown(number.low)} to {shown(number.high)}"


def count(number: int) -> str:
    """A count: 12,408."""
    return f"{number:,}"


def p_value(value: float) -> str:
    """A probability of chance."""
    return decimal(value) if math.isnan(value) or value >= 0.00005 else "<\N{NO-BREAK SPACE}0.0001"

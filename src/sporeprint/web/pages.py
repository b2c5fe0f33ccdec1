"""Templates to pages: everything is escaped, and a name that nobody gave is an error."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sporeprint import __version__
from sporeprint.web import charts
from sporeprint.web.assets import assets
from sporeprint.web.words import LANGUAGES, Words

#: Most characters of a text somebody typed that a page repeats.
MOST_TEXT = 200
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@functools.cache
def environment() -> Environment:
    """The templates of the pages."""
    made = Environment(
        loader=PackageLoader("sporeprint.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"number": number, "share": share, "moment": moment, "cut": cut, "sentence": lambda text, words: words.sentence(text)}
    made.filters["of_table"] = lambda text, words: words.of_table(text)
    made.globals |= {"charts": charts, "assets": assets(), "languages": LANGUAGES, "release": __version__}
    return made


def render(template: str, words: Words, values: Mapping[str, Any]) -> str:
    """A page, or a part of one.

    Args:
        template: name of the template.
        words: of the reader's language.
        values: what the template names.
    """
    return environment().get_template(template).render(**values, _=words, language=words.language)


def number(value: float) -> str:
    """A number as people read it: 12,408 or 0.0132."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def share(value: float) -> str:
    """A share in percent: 99.6 %."""
    digits = 0 if value in (0, 1) else 1 if 0.001 <= value <= 0.999 else 2
    return f"{value:.{digits}%}".replace("%", " %")


def moment(value: str | int) -> str:
    """A time, ISO 8601 or microseconds since 1970, as 28 Nov 2026, 19:03 UTC."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(value / 1e6, UTC)
    at = at.astimezone(UTC)
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC"


def cut(text: str) -> str:
    """A text somebody typed, not longer than a page has room for."""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} …"

"""A bar of parts that make a whole."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape


class BarPart(NamedTuple):
    """One part of a whole.

    Attributes:
        amount: how much, in the unit of the others.
        role: its class in the style sheet: warn, good or soft.
        label: what it is, in words.
    """

    amount: float
    role: str
    label: str


def share_bar(parts: Sequence[BarPart], title: str) -> Markup:
    """A bar of parts that make a whole; what each is stands in its title, as the chart's own says the finding."""
    whole = sum(part.amount for part in parts)
    x, drawn = 0.0, []
    for part in parts:
        width = 0.0 if whole == 0 else 100 * part.amount / whole
        if width:
            drawn.append(f'<rect class="{escape(part.role)}" x="{x:.2f}" y="0" width="{width:.2f}" height="4"/>')
        x += width
    shapes = "".join(drawn)
    return Markup(  # noqa: S704 -- what is no number is escaped
        f'<svg class="share-bar" role="img" viewBox="0 0 100 4" preserveAspectRatio="none"><title>{escape(title)}</title>'
        f'<rect class="ground" x="0" y="0" width="100" height="4"/>{shapes}</svg>'
    )

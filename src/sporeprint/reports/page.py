"""Templates to reports: one file each, with style and charts inside, that needs no network and no script."""

import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sporeprint.common.counts import number_of
from sporeprint.reports import numbers
from sporeprint.web.assets import style_sheet
from sporeprint.web.names import spaced
from sporeprint.web.pages import moment


def render(template: str, *, simulated: bool, **values: Any) -> str:
    """A report as HTML.

    Args:
        template: name of its template.
        simulated: whether it is of invented rows; then it says so first.
        values: what the template names.
    """
    return _environment().get_template(template).render(simulated=simulated, **values)


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("sporeprint.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {name: getattr(numbers, name) for name in ("percent", "decimal", "count", "estimate", "interval", "p_value")}
    made.filters |= {"spaced": spaced, "moment": moment, "number_of": number_of}
    made.globals["style"] = style_sheet("tokens.css", "base.css", "charts.css", "report.css")
    return made

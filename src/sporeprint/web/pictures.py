"""Pictograms of values: symbols of one file, named as `column-word`. A table that has none of them is shown in words alone."""

import functools
import re

from sporeprint.web.assets import assets


@functools.cache
def symbols() -> frozenset[str]:
    """The names of the symbols."""
    return frozenset(re.findall(r'<symbol id="([a-z0-9-]+)"', assets()["pictures.svg"].body.decode()))

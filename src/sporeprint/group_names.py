"""The names of the groups, where a table of them lies beside the data: for people only, nothing is computed from them."""

from pathlib import Path

import polars as pl

from sporeprint.safety import Component
from sporeprint.schema import Groups

_SEPARATORS = (";", ",", "\t", "|")


def read_group_names(path: Path, groups: Groups, count: int) -> tuple[Component, ...] | None:
    """Name and family of each of `count` groups, in block order; None where the table is missing or is not about these groups."""
    if not path.is_file():
        return None
    for separator in _SEPARATORS:
        try:
            table = pl.read_csv(path, separator=separator, infer_schema=False)
        except (pl.exceptions.PolarsError, OSError):
            continue
        if groups.name_column in table.columns:
            return _names(table, groups) if table.height == count else None
    return None


def _names(table: pl.DataFrame, groups: Groups) -> tuple[Component, ...]:
    names = table[groups.name_column].fill_null("unnamed").to_list()
    if groups.family_column is None or groups.family_column not in table.columns:
        return tuple(Component(name) for name in names)
    families = table[groups.family_column].to_list()
    return tuple(Component(name, family or None) for name, family in zip(names, families, strict=True))

"""The names of the groups, where a table of them lies beside the data: for reports only, nothing is computed from them."""

from pathlib import Path

import polars as pl

from sporeprint.schema import Groups

_SEPARATORS = (";", ",", "\t", "|")


def read_group_names(path: Path, groups: Groups, count: int) -> tuple[str, ...] | None:
    """The name of each of `count` groups, in block order; None where the table is missing or is not about these groups.

    A name is followed by the family, where there is such a column: "Fly Agaric (Amanita Family)".
    """
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


def _names(table: pl.DataFrame, groups: Groups) -> tuple[str, ...]:
    names = table[groups.name_column].fill_null("unnamed").to_list()
    if groups.family_column is None or groups.family_column not in table.columns:
        return tuple(names)
    families = table[groups.family_column].to_list()
    return tuple(f"{name} ({family})" if family else name for name, family in zip(names, families, strict=True))

"""The names of the groups, where a table of them lies beside the data: for people only, nothing is computed from them."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sporeprint.schema import Groups

_SEPARATORS = (";", ",", "\t", "|")


@dataclass(frozen=True)
class GroupName:
    """The name of one group or cluster, for people.

    Attributes:
        name: the group's name or number; of a cluster its number.
        family: what the group belongs to; None where nothing says so.
    """

    name: str
    family: str | None = None

    def __str__(self) -> str:
        """As reports say it: "Fly Agaric (Amanita Family)"."""
        return self.name if self.family is None else f"{self.name} ({self.family})"


def read_group_names(path: Path, groups: Groups, count: int) -> tuple[GroupName, ...] | None:
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


def _names(table: pl.DataFrame, groups: Groups) -> tuple[GroupName, ...]:
    names = table[groups.name_column].fill_null("unnamed").to_list()
    if groups.family_column is None or groups.family_column not in table.columns:
        return tuple(GroupName(name) for name in names)
    families = table[groups.family_column].to_list()
    return tuple(GroupName(name, family or None) for name, family in zip(names, families, strict=True))

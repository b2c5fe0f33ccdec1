"""Steps of a revision that can be taken again: MariaDB commits after each one, and a revision can be killed between two.

SQLite takes back what a killed revision did, and has no words for most of this.
"""

from collections.abc import Sequence
from typing import Any

from alembic import op
from sqlalchemy import Column, inspect

from sporeprint.storage.oltp.tables import OPTIONS


def create_table(name: str, *items: Any) -> None:
    """Make a table, with what all tables say to their database."""
    op.create_table(name, *items, if_not_exists=True, **OPTIONS)


def create_index(table: str, *columns: str) -> None:
    """Make an index under the name that `tables.metadata` gives it."""
    op.create_index(_index(table, columns), table, list(columns), if_not_exists=True)


def add_columns(table: str, *columns: Column[Any]) -> None:
    """Add columns at the table's end."""
    for column in columns:
        op.add_column(table, column, if_not_exists=_commits_each_step() or None)


def rename_column(table: str, old: str, new: str) -> None:
    """Rename a column, unless it is done already."""
    if any(column["name"] == old for column in inspect(op.get_bind()).get_columns(table)):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def drop_tables(*names: str) -> None:
    """Remove tables, with what is in them."""
    for name in names:
        op.drop_table(name, if_exists=True)


def drop_index(table: str, *columns: str) -> None:
    """Remove an index."""
    op.drop_index(_index(table, columns), table, if_exists=True)


def drop_columns(table: str, *names: str) -> None:
    """Remove columns, with what is in them."""
    for name in names:
        op.drop_column(table, name, if_exists=_commits_each_step() or None)


def _index(table: str, columns: Sequence[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"


def _commits_each_step() -> bool:
    return op.get_bind().dialect.name != "sqlite"

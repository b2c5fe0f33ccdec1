"""Tables and columns of A/B tests have the field's names: interim analyses, checkpoints, the answer of the shadow version."""

import json
from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, MetaData, PrimaryKeyConstraint, Table, insert, inspect, select

from sporeprint.storage.migrations.steps import create_index, create_table, drop_index, drop_tables, rename_column
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, SEQUENCE, name

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = {
    "ab_unit": {"other": "shadow_answer", "other_us": "shadow_latency_us", "waiting": "awaits_label"},
    "ab_total": {"other": "shadow_answer", "other_us": "shadow_latency_us", "other_us2": "shadow_latency_us2"},
}
#: Keys in the figures of an interim analysis.
KEYS = {
    "sample_ratio_log_e": "srm_log_e",
    "sample_ratio_alarm": "srm_alarm",
    "labelling": "label_bias",
    "believed": "significant",
    "standing": "status",
}


def upgrade() -> None:
    """Rename. The rows stay."""
    drop_index("ab_unit", "test_id", "waiting", "prediction_seq")
    for table, names in COLUMNS.items():
        for old, new in names.items():
            rename_column(table, old, new)
    create_index("ab_unit", "test_id", "awaits_label", "prediction_seq")
    _create_analyses("ab_interim_analysis", "figures")
    _copy("ab_look", "ab_interim_analysis", {"look": "figures"}, KEYS)
    _create_checkpoints("checkpoint")
    _copy("ab_progress", "checkpoint", {}, {})
    drop_tables("ab_look", "ab_progress")


def downgrade() -> None:
    """Rename back."""
    drop_index("ab_unit", "test_id", "awaits_label", "prediction_seq")
    for table, names in COLUMNS.items():
        for old, new in names.items():
            rename_column(table, new, old)
    create_index("ab_unit", "test_id", "waiting", "prediction_seq")
    _create_analyses("ab_look", "look")
    _copy("ab_interim_analysis", "ab_look", {"figures": "look"}, {new: old for old, new in KEYS.items()})
    _create_checkpoints("ab_progress")
    _copy("checkpoint", "ab_progress", {}, {})
    drop_tables("ab_interim_analysis", "checkpoint")


def _create_analyses(table: str, figures: str) -> None:
    create_table(
        table,
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("test_id", name(64), nullable=False),
        Column("at_us", MICROSECONDS, nullable=False),
        Column("units", BigInteger, nullable=False),
        Column("labels", BigInteger, nullable=False),
        Column(figures, LONG, nullable=False, comment="JSON object: totals, analysis, decision"),
        PrimaryKeyConstraint("seq", name=f"pk_{table}"),
    )
    create_index(table, "test_id", "seq")


def _create_checkpoints(table: str) -> None:
    create_table(
        table,
        Column("name", name(64), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("value", LONG, nullable=False, comment="JSON"),
        PrimaryKeyConstraint("name", name=f"pk_{table}"),
    )


def _copy(old: str, new: str, columns: dict[str, str], keys: dict[str, str]) -> None:
    """Copy the rows that are not there yet: the step can be taken again."""
    connection = op.get_bind()
    if not inspect(connection).has_table(old):
        return
    source, target = (Table(table, MetaData(), autoload_with=connection) for table in (old, new))
    (key,) = target.primary_key.columns
    there = set(connection.execute(select(key)).scalars())
    for row in connection.execute(select(source)).mappings().all():
        if row[key.name] not in there:
            values = {columns.get(column, column): _renamed(text, keys) if column in columns else text for column, text in row.items()}
            connection.execute(insert(target).values(values))


def _renamed(text: str, keys: dict[str, str]) -> str:
    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {keys.get(key, key): renamed(each) for key, each in value.items()}
        return [renamed(each) for each in value] if isinstance(value, list) else value

    try:
        return json.dumps(renamed(json.loads(text)))
    except ValueError:  # no JSON: nothing to rename
        return text

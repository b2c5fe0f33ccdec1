"""Which changed columns matter: how much each changed, times how much the model uses it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sporeprint.monitoring.alarm_control import Judgement
from sporeprint.monitoring.drift import DriftReport


@dataclass(frozen=True, slots=True)
class RankedColumn:
    """A column's place.

    Attributes:
        column: its name.
        size: how much its values changed: the Jensen-Shannon distance; None where it could not be computed.
        missing: by how much its share of missing values changed.
        importance: its share in what moves the model's score; None where that is not known.
        weight: what it is ranked by: the larger change of the two, times the importance; without importance the change alone.
        alarm: whether it raised one.
    """

    column: str
    size: float | None
    missing: float
    importance: float | None
    weight: float
    alarm: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def rank(drift: DriftReport, judgement: Judgement, importance: Mapping[str, float] | None) -> tuple[RankedColumn, ...]:
    """The columns, the one that matters most first. Changes that are not significant weigh nothing; then come alarms, then the rest.

    Args:
        drift: what changed.
        judgement: what of it is more than chance.
        importance: column -> share, adding up to 1; None where nobody knows. What has none (an answer) counts in full.
    """
    alarmed = {finding.column for finding in judgement.alarms}
    changed = {finding.column for finding in judgement.findings if finding.significant}
    ranked = []
    for column in drift.columns:
        share = None if importance is None else importance.get(column.column)
        missing = abs(column.missing[1] - column.missing[0])
        size = max(column.size or 0.0, missing if missing == missing else 0.0)
        weight = size * (1.0 if share is None else share) if column.column in changed else 0.0
        ranked.append(RankedColumn(column.column, column.size, missing, share, weight, column.column in alarmed))
    return tuple(sorted(ranked, key=lambda item: (-item.weight, not item.alarm, -(item.size or 0.0), item.column)))

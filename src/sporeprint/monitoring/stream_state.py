"""What the evaluations of one stream leave for the next one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sporeprint.monitoring.alarm_control import AlarmState

#: Windows whose outcomes are kept one by one.
WINDOWS = 64


@dataclass(frozen=True)
class StreamState:
    """What evaluations of one stream leave behind.

    Attributes:
        state: of the error control.
        before: negative answers with an outcome, and the wrong ones, in windows that are no longer remembered one by one.
        outcomes: window -> the same of that window.
    """

    state: AlarmState = field(default_factory=AlarmState)
    before: tuple[int, int] = (0, 0)
    outcomes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def earlier(self, window: str) -> tuple[int, int]:
        """The outcomes of all windows but this one."""
        others = [counts for name, counts in self.outcomes.items() if name != window]
        return self.before[0] + sum(count for count, _ in others), self.before[1] + sum(wrong for _, wrong in others)

    def with_outcomes(self, window: str, negative_outcomes: int, wrong: int) -> "StreamState":
        """The same after a further window."""
        outcomes = {**self.outcomes, window: (negative_outcomes, wrong)}
        before = self.before
        while len(outcomes) > WINDOWS:
            old = outcomes.pop(next(iter(outcomes)))
            before = before[0] + old[0], before[1] + old[1]
        return replace(self, before=before, outcomes=outcomes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"state": json.loads(self.state.to_json()), "before": list(self.before), "outcomes": dict(self.outcomes)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "StreamState":
        """Read what `to_dict` gave."""
        outcomes = {window: (int(count), int(wrong)) for window, (count, wrong) in raw["outcomes"].items()}
        return cls(AlarmState.from_json(json.dumps(raw["state"])), (int(raw["before"][0]), int(raw["before"][1])), outcomes)

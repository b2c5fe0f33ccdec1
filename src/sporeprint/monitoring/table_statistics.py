"""A table in numbers: its columns, its scores, and its outcomes."""

from dataclasses import dataclass, field

from sporeprint.monitoring.data_profile import Profile
from sporeprint.monitoring.performance_estimation import ScoreHistograms
from sporeprint.monitoring.realized_performance import Tally


@dataclass(frozen=True)
class TableStatistics:
    """A table, counted.

    Attributes:
        profile: its columns, and those of the answers.
        scores: its probabilities.
        tally: its rows by answer and outcome.
        refused: rows that the model gives no probability for.
        strangers: labels that are neither class.
    """

    profile: Profile = field(default_factory=Profile)
    scores: ScoreHistograms = field(default_factory=ScoreHistograms)
    tally: Tally = field(default_factory=Tally)
    refused: int = 0
    strangers: int = 0

    def __add__(self, other: "TableStatistics") -> "TableStatistics":
        return TableStatistics(
            self.profile + other.profile,
            self.scores + other.scores,
            self.tally + other.tally,
            self.refused + other.refused,
            self.strangers + other.strangers,
        )

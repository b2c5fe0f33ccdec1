"""A fitted model that is not registered yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.errors import NotServableError
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import Scorer
from sporeprint.safety.decision_rule import DecisionRule


@dataclass(frozen=True)
class Candidate:
    """A fitted model that is not registered.

    Attributes:
        name: the model's name in the configuration.
        encoder: fitted on its training rows.
        scorer: the form that is served; None where there is none.
        not_servable: why there is none.
        parts: further files that serve, by name: calibration, guard, threshold, and what explains an answer.
        scores: float64 [t], the test rows' scores, not calibrated, by the served form where there is one.
        reference: float64 [t], the same by the estimator itself: what a served score is held against.
        fit_seconds: what the fit took.
        rounds: boosting rounds kept; None where there are none.
        importance: dataset column -> share of the model's importance, adding up to 1.
        notes: what the fit warned of.
        settings: the model's part of the configuration.
        data_run: the run that wrote the tables it was fitted on.
    """

    name: str
    encoder: Encoder
    scorer: Scorer | None
    not_servable: str | None
    parts: Mapping[str, bytes]
    scores: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]
    fit_seconds: float
    rounds: int | None
    importance: Mapping[str, float]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]
    data_run: str

    @cached_property
    def safety(self) -> DecisionRule:
        """What stands between the scores and an answer."""
        return DecisionRule.from_files(self.parts)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """float64 [t], P(positive) of the test rows, calibrated."""
        return self.safety.calibration(self.scores)

    def score(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Scores of n rows by the served form, not calibrated: float64 [n].

        Raises:
            NotServableError: if there is no such form.
        """
        if self.scorer is None:
            raise NotServableError(str(self.not_servable))
        return self.encoder.scored(codes, self.scorer.score)

"""The evaluation of a run's models, as one value: what the page, the metrics files and the model cards are made from."""

from dataclasses import dataclass, field
from typing import Any

from sporeprint.evaluation.model_comparison import ModelComparison
from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.evaluation.safety_scorecard import GuardEvaluation
from sporeprint.evaluation.scorecard import ModelEvaluation, Unavailable
from sporeprint.safety.risk_control import Threshold
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings


@dataclass(frozen=True, slots=True)
class ReportContext:
    """The evaluation of a run's models.

    Attributes:
        run_id: the run.
        created: ISO 8601, UTC.
        simulated: whether the rows were invented.
        schema: the contract, for words.
        data: `source`, `sha256`, `rows`, `rejected`, `duplicates`; and, where known, `by_rule` (rule -> rows), `splits` (part ->
            rows), `classes` (word -> rows), `groups` (with a `reason`).
        evaluations: by model.
        comparisons: of the models, pair by pair.
        guard: the guard alone, on groups it does not know.
        thresholds: model -> where its negative answer begins, and what that promises.
        guard_settings: the settings of both.
        notes: model -> what its promises do not say, in plain words.
        production: the version that is served; "none" if there is none, empty before these models were registered.
        rule: why that one.
        versions: model -> its version, as in v2; a model that was not registered has none.
        importances: model -> dataset column -> share.
        fit_seconds: model -> seconds.
        steps: step -> seconds.
        group_names: names of the groups, by their number; None where nobody knows them.
        seed: seed of fits and bootstraps.
        confidence: level of every interval.
        libraries: library -> version that computed all this.
        counted: what intervals on rows of known groups count, in words.
        partial: verdicts by number of columns observed; empty where they were not counted.
    """

    run_id: str
    created: str
    simulated: bool
    schema: DatasetSchema
    data: dict[str, Any]
    evaluations: dict[str, ModelEvaluation]
    comparisons: tuple[ModelComparison, ...]
    guard: GuardEvaluation | Unavailable
    thresholds: dict[str, Threshold]
    guard_settings: GuardSettings
    production: str
    rule: str
    versions: dict[str, str]
    importances: dict[str, dict[str, float]]
    fit_seconds: dict[str, float]
    steps: dict[str, float]
    group_names: tuple[str, ...] | None
    seed: int | None = None
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    confidence: float = 0.95
    libraries: dict[str, str] = field(default_factory=dict)
    counted: str = "different rows"
    partial: tuple[PartialCounts, ...] = ()

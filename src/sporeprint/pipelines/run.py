"""A finished run as a person reads it from Python: its tables, its fitted models, and how good they are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from sporeprint.common.progress import SilentProgress
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.dataset import Observations, concat, to_rows
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import NotServableError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.evaluator import CrossValidation, cross_validate
from sporeprint.evaluation.safety_scorecard import LeftOutNovelty, leave_one_group_out
from sporeprint.inference.attributions import Explainer
from sporeprint.pipelines.candidate_files import read_candidates
from sporeprint.pipelines.evaluate import read_report_context
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.evaluation_charts import evaluation_charts
from sporeprint.safety.decision_rule import Predictions, fit_decision_rule
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.risk_control import Threshold
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings, load_settings
from sporeprint.web.charts import svg_file

CONFIGURATION = "config/config.yaml"


@dataclass(frozen=True, repr=False)
class Run:
    """The tables, models and evaluation of a finished run. Nothing in the work directory is changed by it.

    Attributes:
        settings: the configuration.
        workdir: the work directory.
        tables: the published tables: `train`, `validation` (early stopping, calibration and threshold) and `test`.
        models: the fitted models, by name, in the configuration's order.

    >>> from sporeprint import Run, load_run
    >>> run: Run = load_run(WORKDIR, config=CONFIG)
    >>> sorted(run.models)
    ['decision_tree', 'logistic_regression', 'xgboost']
    >>> evaluation = run.evaluation.evaluations["xgboost"].seen
    >>> 0.5 < evaluation.metrics["roc_auc"].value <= 1
    True
    """

    settings: Settings
    workdir: Workdir
    tables: ModelInput
    models: Mapping[str, Candidate]

    @property
    def schema(self) -> DatasetSchema:
        """The columns and the target."""
        return self.settings.dataset

    @property
    def data_summary(self) -> DataSummary:
        """Where the table came from, what was rejected, and how the rows were shared out."""
        return self.tables.record

    @property
    def is_simulated(self) -> bool:
        """Whether the rows are invented."""
        return self.data_summary.simulated

    @cached_property
    def words(self) -> ClassWords:
        """Classes, groups and columns in words."""
        return ClassWords.of(self.schema)

    @property
    def verdict_words(self) -> tuple[str, ...]:
        """The word of each number that stands for a verdict: negative, positive, unknown."""
        return verdict_words(self.schema)

    @cached_property
    def observations(self) -> Observations:
        """All rows of the three tables, in the order of the source."""
        rows = concat([self.tables.train, self.tables.validation, self.tables.test])
        return rows.take(np.argsort(rows.row))

    def part(self, name: str) -> Observations:
        """The rows of one part of `validation`, as `split.shares` names them."""
        return self.tables.part(self.settings, name)

    @cached_property
    def evaluation(self) -> ReportContext:
        """What the run measured.

        Raises:
            DataError: there is none, or it is of other models or another table.
        """
        return read_report_context(self.workdir, self.tables, list(self.models.values()))

    @cached_property
    def charts(self) -> Mapping[str, str]:
        """The charts of the evaluation report: name -> SVG. Raises as `evaluation`."""
        return {name: svg_file(chart) for name, chart in evaluation_charts(self.evaluation).items()}

    @property
    def guard(self) -> Guard:
        """The novelty guard, which all models of a run share."""
        return next(iter(self.models.values())).safety.guard

    @cached_property
    def cross_validation(self) -> CrossValidation:
        """Predictions for every row by models that never saw its group, folds as in the evaluation. Fits every model once a fold."""
        with threadpool_limits(1, "blas"):  # small sums: further threads would only wait for each other
            return cross_validate(self.settings, self.tables, SilentProgress())

    @cached_property
    def leave_one_group_out(self) -> LeftOutNovelty:
        """What the guard says of each of `observations` when the row's own group is taken out of it.

        Raises:
            ValueError: the rows have no groups.
        """
        return leave_one_group_out(self.guard, self.observations, self.part("calibration"))

    def predictions(self, model: str, rows: Observations) -> Predictions:
        """Calibrated probability, novelty, anomalies and verdict of n rows.

        Raises:
            KeyError: there is no such model.
            NotServableError: the model cannot be served.
        """
        candidate = self.models[model]
        return candidate.safety.predictions(rows.codes, candidate.score(rows.codes), candidate.encoder, self.schema)

    def attributions(self, model: str, rows: Observations) -> tuple[dict[str, npt.NDArray[np.float64]], float]:
        """The contribution of each column to the model's scores of n rows.

        Returns:
            column -> float64 [n], and the base they start from; both in the explainer's unit, log odds for boosted trees. Base and
            columns add up to the score before calibration.

        Raises:
            KeyError: there is no such model.
            NotServableError: the model cannot be served, or not be explained.
        """
        candidate = self.models[model]
        if candidate.scorer is None:
            raise NotServableError(str(candidate.not_servable))
        explained = Explainer.from_files(candidate.parts).contributions(candidate.encoder.matrix(rows.codes), candidate.scorer)
        if explained is None:
            raise NotServableError(f"the scores of model {model!r} cannot be attributed to columns")
        effects, base = explained
        sources = np.array(candidate.encoder.sources)
        return {name: effects[:, sources == name].sum(axis=1) for name in dict.fromkeys(candidate.encoder.sources)}, base

    def threshold(self, model: str, alpha: float) -> Threshold:
        """Where the model's negative verdict would begin if at most a share `alpha` of them were allowed to be wrong."""
        candidate, guard = self.models[model], self.settings.guard.model_copy(update={"alpha": alpha})
        parts = self.part("calibration"), self.part("threshold")
        return fit_decision_rule(candidate.score, candidate.encoder, self.guard, *parts, self.schema, guard).threshold

    def rows(self, observations: Observations) -> list[dict[str, str | float | None]]:
        """Rows as `Model.predict` and a request take them: column -> code, number, or None where missing."""
        return to_rows(observations.codes)

    def __repr__(self) -> str:
        note = ", SIMULATED" if self.is_simulated else ""
        return f"Run({self.data_summary.run_id}: {self.schema.name}, {self.data_summary.rows:,} rows, {', '.join(self.models)}{note})"


def load_run(workdir: str | Path = ".", *, config: Settings | str | Path | None = None) -> Run:
    """Open a finished run.

    Args:
        workdir: the work directory that `sporeprint etl` wrote.
        config: the configuration it was made with, or its file; None: the one that SPOREPRINT_CONFIG names, else
            config/config.yaml in the work directory.

    Raises:
        ConfigError: the configuration is missing or wrong.
        DataError: no run was finished there, or its files are damaged or of several runs.

    >>> import sporeprint
    >>> run = sporeprint.load_run(WORKDIR, config=CONFIG)
    >>> run.data_summary.rows == len(run.observations.y)
    True
    >>> run.predictions("decision_tree", run.tables.test).probability.shape == run.tables.test.y.shape
    True
    """
    place = Workdir(Path(workdir))
    settings = (
        config
        if isinstance(config, Settings)
        else load_settings(Path(config or os.environ.get("SPOREPRINT_CONFIG") or place.root / CONFIGURATION))
    )
    tables = read_input(settings, place)
    candidates = read_candidates(place.candidates, list(settings.models), tables.record.run_id)
    return Run(settings, place, tables, {candidate.name: candidate for candidate in candidates})

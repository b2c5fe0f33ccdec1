"""What stands between a model's score and a verdict: calibration, guard and thresholds, fitted on rows of their own."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.groups import GroupName
from sporeprint.data.training_data import KnownRows
from sporeprint.models.encoder import Encoder
from sporeprint.safety.anomalies import TableAnomalies, table_anomalies
from sporeprint.safety.calibration import Calibration, fit_calibration
from sporeprint.safety.cells import Cells
from sporeprint.safety.component_counts import ComponentCounts, ComponentRows, count_components
from sporeprint.safety.group_likelihood import Evidence, likelihood_of
from sporeprint.safety.known_components import find_components
from sporeprint.safety.novelty_guard import Guard, Novelty, calibrate_guard, guard_of
from sporeprint.safety.partial_guard import PARTIAL_GUARD_FILE, PartialGuard, read_partial_guard
from sporeprint.safety.partial_rule import PartialVerdicts, decide_partial, fit_partial_rule
from sporeprint.safety.risk_control import RiskLevels, Threshold, candidate_thresholds, choose_threshold
from sporeprint.safety.verdict import HALF, Flag, Numbers, VerdictLimits, is_familiar, verdict
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

CALIBRATION, GUARD, ANSWER = "calibration.json", "guard.npz", "answer.json"
#: Of `answer.json`. Format 1 had one threshold for both classes and one witness.
FORMAT = 2


@dataclass(frozen=True)
class Predictions:
    """What is predicted for n rows.

    Attributes:
        probability: float64 [n], P(positive), calibrated.
        novelty: the guard's view of the rows.
        anomalies: values never seen, numbers out of range, contradictions.
        verdict: int8 [n], see `verdict`.
        partial: what was said of them as rows of which only some columns were observed; None where they are not such rows.
    """

    probability: Float64
    novelty: Novelty
    anomalies: TableAnomalies
    verdict: npt.NDArray[np.int8]
    partial: PartialVerdicts | None = None


@dataclass(frozen=True)
class DecisionRule:
    """Calibration, guard and thresholds of one model.

    Attributes:
        calibration: from scores to probabilities.
        guard: which rows are familiar.
        threshold: where the negative verdict begins, and what that promises.
        coverage: share of familiar rows that are to be answered; less than what is set where calibration rows are few.
        components: names of the guard's components [K].
        positive_from: P(positive) above which the positive verdict is given.
        partial: decides on rows of which only some columns were observed; None in versions made before there was one.
    """

    calibration: Calibration
    guard: Guard
    threshold: Threshold
    coverage: float
    components: tuple[GroupName, ...]
    positive_from: float = HALF
    partial: PartialGuard | None = None

    @cached_property
    def limits(self) -> VerdictLimits:
        """Where each class may be said."""
        return VerdictLimits(self.threshold.value, max(self.positive_from, self.threshold.value or 0.0), self.coverage)

    @cached_property
    def component_negative(self) -> npt.NDArray[np.bool_]:
        """Which of the guard's components are of the negative class: bool [K]."""
        return self.guard.positive < HALF

    def decide(self, probability: Numbers, novelty_p: Numbers, contradictory: Flag, component: "int | Index") -> int | npt.NDArray[np.int8]:
        """The verdict on one row, or on n: the only place where it is made.

        Args:
            probability: P(positive), calibrated.
            novelty_p: the guard's p-value.
            contradictory: whether the row contradicts itself.
            component: the guard's component that the row is most like.
        """
        return verdict(probability, novelty_p, contradictory, self.component_negative[component], self.limits)

    def partial_cells(
        self, codes: Codes, unobserved: frozenset[str] = frozenset(), absent: Mapping[str, Flags] | None = None
    ) -> Cells | None:
        """The rows as the guard of partial rows takes them; None where they are not its to answer.

        Args:
            codes: n rows.
            unobserved: columns whose empty cells are no observation, beside those that the contract says so of.
            absent: column -> bool [n], further rows in which it was not observed. None: in none.
        """
        if self.partial is None or not (unobserved or absent or self.partial.is_always_asked):
            return None
        cells = Cells.of_codes(codes, self.partial.layout, unobserved)
        if not absent:
            return cells
        everywhere = np.ones(codes.rows, dtype=np.bool_)
        seen = [~absent[name] if name in absent else everywhere for name in self.partial.layout.columns]
        return cells.hidden(np.stack(seen, axis=1), self.partial.layout)

    def predictions(
        self,
        codes: Codes,
        scores: Float64,
        encoder: Encoder,
        schema: DatasetSchema,
        *,
        novelty: Novelty | None = None,
        cells: Cells | None = None,
        evidence: Evidence | None = None,
    ) -> Predictions:
        """Predict n rows.

        Args:
            codes: the rows.
            scores: float64 [n], the model's scores of them, not calibrated; of partial rows those that the guard trusts count.
            encoder: the model's encoder: which values and numbers it has seen.
            schema: the contract, with the contradictions it declares.
            novelty: what the guard says of the rows, where it was computed before.
            cells: what `partial_cells` gives, where it was asked before.
            evidence: what the groups say of the rows as they are recorded, where it was computed before.
        """
        cells = self.partial_cells(codes) if cells is None else cells
        if self.partial is not None and cells is not None:
            return self._partial_predictions(self.partial, codes, scores, encoder, schema, cells, evidence)
        novelty = self.guard.novelty(codes) if novelty is None else novelty
        probability, anomalies = self.calibration(scores), table_anomalies(codes, encoder, schema)
        verdicts = self.decide(probability, novelty.p, anomalies.contradictory(codes.rows), novelty.component)
        return Predictions(probability, novelty, anomalies, np.asarray(verdicts, dtype=np.int8))

    def _partial_predictions(
        self,
        partial: PartialGuard,
        codes: Codes,
        scores: Float64,
        encoder: Encoder,
        schema: DatasetSchema,
        cells: Cells,
        evidence: Evidence | None,
    ) -> Predictions:
        anomalies = table_anomalies(codes, encoder, schema)
        contradictory, classifier = anomalies.contradictory(codes.rows), self.calibration(scores)
        verdicts = decide_partial(partial, cells, contradictory=contradictory, limits=self.limits, classifier=classifier, evidence=evidence)
        novelty = Novelty(verdicts.p, verdicts.group, np.zeros(codes.rows))
        return Predictions(verdicts.probability, novelty, anomalies, verdicts.verdict, verdicts)

    def to_files(self) -> dict[str, bytes]:
        """File name -> bytes; equal values give equal bytes."""
        answer = {
            "format": FORMAT,
            "coverage": self.coverage,
            "positive_from": self.positive_from,
            "threshold": asdict(self.threshold),
            "components": [[item.name, item.family] for item in self.components],
        }
        return {
            **({} if self.partial is None else {PARTIAL_GUARD_FILE: self.partial.to_bytes()}),
            CALIBRATION: self.calibration.to_json().encode(),
            GUARD: self.guard.to_bytes(),
            ANSWER: json.dumps(answer, indent=1, ensure_ascii=False, allow_nan=False).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` gave; other files are ignored.

        Raises:
            ValueError: if a file is missing or damaged, or was written by an earlier release.
        """
        if missing := [name for name in (CALIBRATION, GUARD, ANSWER) if name not in files]:
            raise ValueError(f"it has no {missing[0]}: it was made before models had a guard; train it again with: sporeprint etl")
        answer = json.loads(files[ANSWER])
        if isinstance(answer, dict) and answer.get("format") == 1:
            raise ValueError(
                f"its {ANSWER} is of format 1, of an earlier release whose verdict needed one witness only; "
                "train it again with: sporeprint etl"
            )
        if not isinstance(answer, dict) or answer.get("format") != FORMAT:
            raise ValueError(f"{ANSWER} is not of format {FORMAT}")
        try:
            rule = cls(
                Calibration.from_json(files[CALIBRATION]),
                Guard.from_bytes(files[GUARD]),
                Threshold(**answer["threshold"]),
                float(answer["coverage"]),
                tuple(GroupName(name, family) for name, family in answer["components"]),
                float(answer["positive_from"]),
                read_partial_guard(files),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{ANSWER} is damaged: {error!r}") from error
        value = rule.threshold.value
        if not 0 <= rule.coverage < 1 or not (value is None or (isinstance(value, float) and 0 <= value <= 1)):
            raise ValueError(f"{ANSWER}: coverage {rule.coverage!r} and threshold {value!r}, expected numbers from 0 to 1")
        if not 0 <= rule.positive_from <= 1:
            raise ValueError(f"{ANSWER}: positive_from {rule.positive_from!r}, expected a number from 0 to 1")
        if len(rule.components) != len(rule.guard.names):
            raise ValueError(f"{ANSWER} names {len(rule.components)} components, the guard has {len(rule.guard.names)}")
        return rule


def unit_representatives(rows: Observations) -> Index:
    """One row of each unit, in the order of the table: what a promise may count.

    A unit is a declared cluster (a patient), or else a different row: copies of a row say nothing that the row has not said.
    The row is the one that comes first in the order of a hash of its number, so that labels have no say in the choice.
    """
    order = np.argsort(rows.row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), kind="stable")
    first = np.unique(rows.unit[order], return_index=True)[1]
    return np.sort(order[first])


def fit_guard(rows: Observations, calibrate: Observations, schema: DatasetSchema, settings: GuardSettings, *, seed: int) -> Guard:
    """Fit and calibrate a guard.

    Args:
        rows: rows that the guard is to know.
        calibrate: other rows of the same kind, none of which any part of the model was fitted on.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of the clustering.
    """
    components = find_components(KnownRows.of(rows), schema, settings, seed)
    counted = count_components(components.batches, len(components.names), schema)
    chosen, _ = components.chosen(counted.values.sizes, schema)
    return _fit_guard(counted, chosen, components.names, calibrate.take(unit_representatives(calibrate)))


def fit_guards(
    known: KnownRows,
    calibrate: Observations,
    test: Observations,
    schema: DatasetSchema,
    settings: GuardSettings,
    *,
    seed: int,
    is_rehearsed: bool = True,
) -> tuple[Guard, PartialGuard]:
    """Fit and calibrate both guards, on the same components: of rows as they are recorded, and of partial rows.

    Args:
        known: rows that the guards are to know.
        calibrate: see `fit_guard`.
        test: further such rows, on which the promise of the partial rows' threshold is tested.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of everything that is drawn.
        is_rehearsed: see `fit_partial_rule`.
    """
    components = find_components(known, schema, settings, seed)
    names = components.names
    counted = count_components(components.batches, len(names), schema)
    chosen, masks = components.chosen(counted.values.sizes, schema)
    calibrate, test = calibrate.take(unit_representatives(calibrate)), test.take(unit_representatives(test))
    guard = _fit_guard(counted, chosen, names, calibrate)
    likelihood = replace(likelihood_of(counted, chosen, names, schema), positive=guard.positive)
    return guard, fit_partial_rule(likelihood, masks, calibrate, test, schema, settings, seed=seed, is_rehearsed=is_rehearsed)


def _fit_guard(counted: ComponentCounts, chosen: ComponentRows, names: npt.NDArray[np.int64], calibrate: Observations) -> Guard:
    guard = calibrate_guard(guard_of(counted, chosen, names), calibrate.codes)
    return guard if (names >= 0).all() else with_measured_classes(guard, calibrate)


def with_measured_classes(guard: Guard, rows: Observations) -> Guard:
    """The guard with each component's share of positives as other rows have it.

    Clusters are made of rows of one class, so what they were fitted on says nothing of how pure they are. Where no row is most
    like a component, its own class stands, as one row would.

    Args:
        guard: its components are clusters.
        rows: rows that nothing was fitted on.
    """
    component = guard.novelty(rows.codes).component
    counts = np.bincount(component, minlength=len(guard.names))
    positives = np.bincount(component, weights=rows.y, minlength=len(guard.names))
    return replace(guard, positive=(positives + guard.positive) / (counts + 1.0))


def fit_decision_rule(
    score: Callable[[Codes], Float64],
    encoder: Encoder,
    fitted: Guard,
    calibrate: Observations,
    test: Observations,
    schema: DatasetSchema,
    settings: GuardSettings,
    names: Sequence[GroupName] = (),
    *,
    novelties: tuple[Novelty, Novelty] | None = None,
    partial: PartialGuard | None = None,
) -> DecisionRule:
    """Calibrate a model, and find where its negative verdict may begin.

    Everything is counted in units (see `unit_representatives`): calibration, candidates and test.

    Args:
        score: codes -> float64 [n], the model's scores.
        encoder: the model's encoder.
        fitted: the guard.
        calibrate: rows that neither the model nor the guard was fitted on.
        test: further such rows, on which the promise is tested.
        schema: the contract.
        settings: see `GuardSettings`.
        names: of the groups, by number.
        novelties: what the guard says of `calibrate` and of `test`, where it was computed before.
        partial: decides on partial rows.
    """
    coverage = attainable_coverage(settings.coverage, len(fitted.calibration))
    novelties = novelties or (fitted.novelty(calibrate.codes), fitted.novelty(test.codes))
    parts = []
    for table, novelty in zip((calibrate, test), novelties, strict=True):
        units = unit_representatives(table)
        rows = table.take(units)
        contradictory = table_anomalies(rows.codes, encoder, schema).contradictory(len(units))
        familiar = np.asarray(is_familiar(novelty.p[units], coverage)) & ~contradictory
        # Only these may ever be answered negative, so the promise on negative answers is about them.
        parts.append((rows, familiar, familiar & (fitted.positive[novelty.component[units]] < HALF)))
    (calibrating, _, may_be_negative), (tested, tested_familiar, tested_negative) = parts
    raw = score(calibrating.codes)
    calibration = fit_calibration(raw, calibrating.y, settings.calibration)
    levels = RiskLevels(settings.alpha, settings.missed, settings.delta)
    candidates = candidate_thresholds(
        calibration(raw)[may_be_negative],
        rows=int(tested_negative.sum()),
        alpha=levels.alpha,
        delta=levels.delta,
        most=settings.largest_threshold,
    )
    p = calibration(score(tested.codes))
    threshold = choose_threshold(
        p[tested_negative],
        tested.y[tested_negative],
        candidates,
        levels,
        positives=int(tested.y.sum()),
        rows=len(test.y),
        units=len(tested.y),
    )
    threshold = replace(threshold, called_positive=int((p[tested_familiar] > max(settings.positive_from, threshold.value or 0.0)).sum()))
    return DecisionRule(calibration, fitted, threshold, coverage, _component_names(fitted, names), settings.positive_from, partial)


def joint_vocabulary(encoder: Encoder, guard: Guard, schema: DatasetSchema) -> dict[str, tuple[str, ...]]:
    """For every nominal column the values that encoder, guard or contract know: in these, rows have to be coded for all of them."""
    declared = {name: tuple(schema.columns[name].values or ()) for name in encoder.vocabulary}
    return {name: tuple(dict.fromkeys((*values, *guard.categories[name], *declared[name]))) for name, values in encoder.vocabulary.items()}


def attainable_coverage(coverage: float, rows: int) -> float:
    """The coverage that so many calibration rows can hold: a row more novel than all of them is never familiar."""
    return min(coverage, rows / (rows + 1))


def _component_names(fitted: Guard, names: Sequence[GroupName]) -> tuple[GroupName, ...]:
    components = []
    for number, group in enumerate(fitted.names.tolist()):
        if group < 0:
            components.append(GroupName(f"cluster {number}"))
        else:
            components.append(names[group] if group < len(names) else GroupName(f"number {group}"))
    return tuple(components)

"""What stands between a model's score and an answer: calibration, guard and threshold, fitted on rows of their own."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.groups import GroupName
from sporeprint.models.encoder import Encoder
from sporeprint.safety.anomalies import TableAnomalies, table_anomalies
from sporeprint.safety.calibration import Calibration, fit_calibration
from sporeprint.safety.cells import Cells
from sporeprint.safety.mixture import cluster_components, group_components, groups_are_usable
from sporeprint.safety.novelty_guard import Guard, Novelty, calibrate_guard, fit_components
from sporeprint.safety.partial_guard import FILE as PARTIAL_GUARD
from sporeprint.safety.partial_guard import PartialGuard, read_partial_guard
from sporeprint.safety.partial_rule import PartialVerdicts, decide, fit_partial_rule
from sporeprint.safety.risk_control import Threshold, candidate_thresholds, choose_threshold
from sporeprint.safety.verdict import is_familiar, verdict
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings

Float64 = npt.NDArray[np.float64]

CALIBRATION, GUARD, ANSWER = "calibration.json", "guard.npz", "answer.json"


@dataclass(frozen=True)
class Predictions:
    """What is answered for n rows.

    Attributes:
        probability: float64 [n], P(positive), calibrated.
        novelty: the guard's view of the rows.
        anomalies: values never seen, numbers outside, contradictions.
        verdict: int8 [n], see `verdict`.
        partial: what was said of them as rows of which only some columns were observed; None where nobody asked.
    """

    probability: Float64
    novelty: Novelty
    anomalies: TableAnomalies
    verdict: npt.NDArray[np.int8]
    partial: PartialVerdicts | None = None


@dataclass(frozen=True)
class DecisionRule:
    """Calibration, guard and threshold of one model.

    Attributes:
        calibration: from scores to probabilities.
        guard: which rows are familiar.
        threshold: where the negative answer begins, and what that promises.
        coverage: share of familiar rows that are to be answered; less than what is set where calibration rows are few.
        components: names of the guard's components [K].
        partial: answers rows of which only some columns were observed; None in versions made before there was one.
    """

    calibration: Calibration
    guard: Guard
    threshold: Threshold
    coverage: float
    components: tuple[GroupName, ...]
    partial: PartialGuard | None = None

    def predictions(
        self,
        codes: Codes,
        scores: Float64,
        encoder: Encoder,
        schema: DatasetSchema,
        *,
        novelty: Novelty | None = None,
        unobserved: frozenset[str] = frozenset(),
    ) -> Predictions:
        """Answer n rows.

        Args:
            codes: the rows.
            scores: float64 [n], the model's scores of them, not calibrated.
            encoder: the model's encoder: which values and numbers it has seen.
            schema: the contract, with the contradictions it declares.
            novelty: what the guard says of the rows, where somebody has asked it already.
            unobserved: columns whose empty cells are no observation, beside those that the contract says so of.
        """
        if self.partial is not None and (unobserved or self.partial.is_always_asked):
            return self._partial_predictions(self.partial, codes, scores, encoder, schema, unobserved)
        novelty = self.guard.novelty(codes) if novelty is None else novelty
        probability, anomalies = self.calibration(scores), table_anomalies(codes, encoder, schema)
        verdicts = verdict(probability, novelty.p, anomalies.any(codes.rows), threshold=self.threshold.value, coverage=self.coverage)
        return Predictions(probability, novelty, anomalies, np.asarray(verdicts, dtype=np.int8))

    def _partial_predictions(
        self,
        partial: PartialGuard,
        codes: Codes,
        scores: Float64,
        encoder: Encoder,
        schema: DatasetSchema,
        unobserved: frozenset[str],
    ) -> Predictions:
        cells = Cells.of_codes(codes, partial.layout, unobserved)
        anomalies = table_anomalies(codes, encoder, schema)
        verdicts = decide(
            partial,
            cells,
            anomalous=anomalies.any(codes.rows),
            coverage=self.coverage,
            classifier=self.calibration(scores),
            classifier_threshold=self.threshold.value,
        )
        novelty = Novelty(verdicts.p, verdicts.group, np.zeros(codes.rows))
        return Predictions(verdicts.probability, novelty, anomalies, verdicts.verdict, verdicts)

    def to_files(self) -> dict[str, bytes]:
        """File name -> bytes; equal values give equal bytes."""
        answer = {
            "format": 1,
            "coverage": self.coverage,
            "threshold": asdict(self.threshold),
            "components": [[item.name, item.family] for item in self.components],
        }
        return {
            **({} if self.partial is None else {PARTIAL_GUARD: self.partial.to_bytes()}),
            CALIBRATION: self.calibration.to_json().encode(),
            GUARD: self.guard.to_bytes(),
            ANSWER: json.dumps(answer, indent=1, ensure_ascii=False, allow_nan=False).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` gave; other files are ignored.

        Raises:
            ValueError: if a file is missing or damaged.
        """
        if missing := [name for name in (CALIBRATION, GUARD, ANSWER) if name not in files]:
            raise ValueError(f"it has no {missing[0]}: it was made before models had a guard; train it again")
        answer = json.loads(files[ANSWER])
        if not isinstance(answer, dict) or answer.get("format") != 1:
            raise ValueError(f"{ANSWER} is not of format 1")
        try:
            rule = cls(
                Calibration.from_json(files[CALIBRATION]),
                Guard.from_bytes(files[GUARD]),
                Threshold(**answer["threshold"]),
                float(answer["coverage"]),
                tuple(GroupName(name, family) for name, family in answer["components"]),
                read_partial_guard(files),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{ANSWER} is damaged: {error!r}") from error
        value = rule.threshold.value
        if not 0 <= rule.coverage < 1 or not (value is None or (isinstance(value, float) and 0 <= value <= 1)):
            raise ValueError(f"{ANSWER}: coverage {rule.coverage!r} and threshold {value!r}, expected numbers from 0 to 1")
        if len(rule.components) != len(rule.guard.names):
            raise ValueError(f"{ANSWER} names {len(rule.components)} components, the guard has {len(rule.guard.names)}")
        return rule


def fit_guard(rows: Observations, calibrate: Observations, schema: DatasetSchema, settings: GuardSettings, *, seed: int) -> Guard:
    """Fit and calibrate a guard.

    Args:
        rows: rows that the guard is to know.
        calibrate: other rows of the same kind, none of which any part of the model was fitted on.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of the clustering.
    """
    component, names = _components(rows, schema, settings, seed)
    return calibrate_guard(fit_components(rows.codes, rows.y, component, names, schema), calibrate.codes)


def fit_guards(
    rows: Observations,
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
        rows: rows that the guards are to know.
        calibrate: see `fit_guard`.
        test: further such rows, on which the promise of the partial rows' threshold is tested.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of everything that is drawn.
        is_rehearsed: see `fit_partial_rule`.
    """
    component, names = _components(rows, schema, settings, seed)
    guard = calibrate_guard(fit_components(rows.codes, rows.y, component, names, schema), calibrate.codes)
    return guard, fit_partial_rule(rows, component, names, calibrate, test, schema, settings, seed=seed, is_rehearsed=is_rehearsed)


def _components(
    rows: Observations, schema: DatasetSchema, settings: GuardSettings, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    if settings.components != "clusters" and rows.group is not None and groups_are_usable(rows.group, settings.components):
        return group_components(rows.group)
    return cluster_components(rows.codes, rows.y, schema, clusters=settings.clusters, seed=seed)


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
    """Calibrate a model, and find where its negative answer may begin.

    Args:
        score: codes -> float64 [n], the model's scores.
        encoder: the model's encoder.
        fitted: the guard.
        calibrate: rows that neither the model nor the guard was fitted on.
        test: further such rows, on which the promise is tested.
        schema: the contract.
        settings: see `GuardSettings`.
        names: of the groups, by number.
        novelties: what the guard says of `calibrate` and of `test`, where somebody has asked it already.
        partial: the guard of partial rows.
    """
    coverage = attainable_coverage(settings.coverage, len(fitted.calibration))
    raw = score(calibrate.codes)
    calibration = fit_calibration(raw, calibrate.y, settings.calibration)

    def familiar(rows: Observations, novelty: Novelty) -> npt.NDArray[np.bool_]:
        flags = table_anomalies(rows.codes, encoder, schema).any(rows.codes.rows)
        return np.asarray(is_familiar(novelty.p, coverage)) & ~flags

    novelties = novelties or (fitted.novelty(calibrate.codes), fitted.novelty(test.codes))
    calibration_familiar, threshold_familiar = familiar(calibrate, novelties[0]), familiar(test, novelties[1])
    chosen = candidate_thresholds(
        calibration(raw)[calibration_familiar], rows=int(threshold_familiar.sum()), alpha=settings.alpha, delta=settings.delta
    )
    p = calibration(score(test.codes))
    threshold = choose_threshold(p[threshold_familiar], test.y[threshold_familiar], chosen, alpha=settings.alpha, delta=settings.delta)
    return DecisionRule(calibration, fitted, threshold, coverage, _component_names(fitted, names), partial)


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

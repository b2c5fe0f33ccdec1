"""The verdict for rows of which only some columns were observed: fitting, deciding, and the dialogue that asks one column at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sporeprint.data.dataset import Observations
from sporeprint.safety.cells import Cells
from sporeprint.safety.group_likelihood import Evidence, GroupLikelihood, RowEvidence
from sporeprint.safety.next_question import Questions
from sporeprint.safety.partial_guard import PartialGuard, fit_partial_guard, random_masks, with_threshold
from sporeprint.safety.risk_control import RiskLevels, Threshold, choose_threshold
from sporeprint.safety.verdict import HALF, NEGATIVE, POSITIVE, UNKNOWN, VerdictLimits, is_familiar
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Verdicts = npt.NDArray[np.int8]

#: Thresholds that are tested, from the most careful one on. None is above the last: "edible" at P = 0.5 helps nobody.
CANDIDATES = np.array([0.001, 0.002, 0.005, 0.01, 0.02])
#: Strangers with which the dialogue is rehearsed, and questions that it asks at the most.
REHEARSED, MOST_QUESTIONS = 1_000, 16
#: Withheld powers at which the dialogue could end, from the most generous one on.
ENOUGH = np.array([12.0, 10.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0])


class RowVerdict(NamedTuple):
    """What is answered to one partial row; each field as in `PartialVerdicts`."""

    probability: float
    p: float
    group: int
    verdict: int
    too_little: bool
    observed: int


@dataclass(frozen=True)
class PartialVerdicts:
    """What is answered to n partial rows.

    Attributes:
        probability: float64 [n], P(positive): of the classifier where it was trained on rows with this mask, else of the groups.
        p: float64 [n], conformal p-value.
        group: intp [n], the likeliest group.
        verdict: int8 [n].
        too_little: bool [n], whether the verdict is unknown because too little was observed.
        observed: intp [n], number of columns observed.
        withheld: float64 [n], power of the columns not observed.
        cells: the rows.
    """

    probability: Float64
    p: Float64
    group: Index
    verdict: Verdicts
    too_little: Flags
    observed: Index
    withheld: Float64
    cells: Cells


def decide_partial(
    guard: PartialGuard,
    cells: Cells,
    *,
    contradictory: Flags,
    limits: VerdictLimits,
    classifier: Float64 | None = None,
    evidence: Evidence | None = None,
) -> PartialVerdicts:
    """Answer n rows, each by its own mask.

    Args:
        guard: the guard.
        cells: the rows.
        contradictory: bool [n], whether the row contradicts itself.
        limits: where the classifier's probability may say each class, and the guard's coverage.
        classifier: float64 [n], the classifier's P(positive); it counts where it was trained on rows with this mask. None: nowhere.
        evidence: what the rows say, where somebody has asked it already.
    """
    agreed, surely, weighed = np.ones(len(cells), dtype=np.bool_), np.full(len(cells), guard.surely_positive), None
    if classifier is not None:
        trained = guard.trusted(cells)
        agreed = ~trained | (classifier <= (-1.0 if limits.negative is None else limits.negative))
        # "Above" there, "from" here: the next number keeps the comparison below the same for all rows.
        surely = np.where(trained, np.nextafter(limits.positive, 2.0), surely)
        # Where the classifier counts and has ruled the negative class out, nobody asks how likely a stranger is. Only where it counts
        # for all rows: a probability that groups give can differ in its last digit by what rows are multiplied together.
        weighed = agreed if trained.all() else None
    judgement = guard.judge_evidence(cells, guard.likelihood.evidence(cells, weighed=weighed) if evidence is None else evidence)
    probability = judgement.evidence.positive if classifier is None else np.where(trained, classifier, judgement.evidence.positive)
    familiar = np.asarray(is_familiar(judgement.p, limits.coverage)) & ~contradictory
    negative = familiar & agreed & (judgement.evidence.positive <= guard.most_probability) & judgement.is_fed
    complete = cells.observed.all(axis=1)
    positive = familiar & ~negative & ((probability >= surely) | (complete & (probability > 0.5)))
    verdict = np.where(negative, NEGATIVE, np.where(positive, POSITIVE, UNKNOWN)).astype(np.int8)
    nothing = judgement.observed == 0
    return PartialVerdicts(
        probability,
        judgement.p,
        judgement.evidence.group,
        np.where(nothing, UNKNOWN, verdict).astype(np.int8),
        (familiar & (verdict == UNKNOWN)) | nothing,
        judgement.observed,
        judgement.withheld,
        cells,
    )


def decide_row(
    guard: PartialGuard, key: bytes, evidence: RowEvidence, *, contradictory: bool, limits: VerdictLimits, classifier: float
) -> RowVerdict:
    """`decide_partial` of one row: for a few, arrays cost more than they save.

    Args:
        guard: the guard.
        key: the bytes that stand for the row's set of observed columns.
        evidence: what the row says.
        contradictory: whether it contradicts itself.
        limits: as in `decide_partial`.
        classifier: the classifier's P(positive).
    """
    profile, observed, trained = guard.profile(key), int.from_bytes(key).bit_count(), key in guard.trained
    of_groups, margin, group, typicality = evidence
    p, probability = profile.row_p(typicality), classifier if trained else of_groups
    familiar = bool(is_familiar(p, limits.coverage)) and not contradictory
    verdict = UNKNOWN
    if familiar and observed:
        agreed = not trained or classifier <= (-1.0 if limits.negative is None else limits.negative)
        if agreed and of_groups <= guard.most_probability and margin > profile.least_margin[group]:
            verdict = NEGATIVE
        elif (probability > limits.positive if trained else probability >= guard.surely_positive) or (
            observed == len(guard.layout.columns) and probability > HALF
        ):
            verdict = POSITIVE
    return RowVerdict(probability, p, group, verdict, (familiar and verdict == UNKNOWN) or not observed, observed)


# --- fitting ---------------------------------------------------------------------------------------------------------


def fit_partial_rule(
    likelihood: GroupLikelihood,
    trained: frozenset[bytes],
    calibrate: Observations,
    test: Observations,
    schema: DatasetSchema,
    settings: GuardSettings,
    *,
    seed: int,
    is_rehearsed: bool = True,
) -> PartialGuard:
    """Fit the guard of partial rows, choose its threshold, and rehearse the dialogue.

    Args:
        likelihood: of the groups.
        trained: the sets of observed columns, as keys, that the rows have that it was fitted on.
        calibrate: other rows, that nothing was fitted on; copies left out.
        test: further ones; the threshold's promise is tested on them, each with columns hidden at random.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of everything that is drawn.
        is_rehearsed: whether the dialogue is rehearsed; without, it never ends with the negative class.
    """
    layout, names = likelihood.layout, likelihood.names
    calibration, tested = Cells.of_codes(calibrate.codes, layout), Cells.of_codes(test.codes, layout)
    is_grouped = bool((names >= 0).all()) and calibrate.group is not None and test.group is not None

    def group_of(observations: Observations, cells: Cells) -> Index:
        if not is_grouped or observations.group is None:
            return likelihood.likeliest(cells)
        place = np.searchsorted(names, observations.group).clip(max=len(names) - 1)
        strange = np.flatnonzero(names[place] != observations.group)
        place[strange] = likelihood.likeliest(cells.take(strange))
        return place

    groups = np.concatenate([group_of(calibrate, calibration), group_of(test, tested)])
    positive = np.concatenate([calibrate.y, test.y]) == 1
    both = Cells(
        np.concatenate([calibration.places, tested.places]),
        np.concatenate([calibration.numbers, tested.numbers]),
        np.concatenate([calibration.observed, tested.observed]),
    )
    strangers, strangers_group = both.take(positive), groups[positive]
    guard = fit_partial_guard(
        likelihood,
        trained,
        calibration,
        groups[: len(calibration)],
        strangers,
        strangers_group,
        unseen_risk=settings.unseen_risk,
        seed=seed,
    )
    random = np.random.default_rng(seed + 1)
    hidden = tested.hidden(random_masks(len(tested), len(layout.columns), random), layout)
    levels, positives = RiskLevels(settings.alpha, settings.missed, settings.delta), int(test.y.sum())

    def threshold_of(cells: Cells) -> Threshold:
        evidence = likelihood.evidence(cells)
        rows = np.flatnonzero(evidence.positive <= CANDIDATES[-1])  # no other row is answered with the negative class, however familiar
        judgement = guard.judge_evidence(cells.take(rows), evidence.take(rows))
        usable = rows[np.asarray(is_familiar(judgement.p, settings.coverage)) & judgement.is_fed]
        return choose_threshold(evidence.positive[usable], test.y[usable], CANDIDATES, levels, positives=positives)

    threshold = threshold_of(hidden)
    if threshold.value is None and threshold.wrong == 0:
        # Too few rows are answered with hidden columns to show the promise: with the columns as they were recorded.
        threshold = threshold_of(tested)
    guard = with_threshold(guard, threshold)
    if not is_rehearsed or threshold.value is None or not len(strangers):
        return guard
    chosen = np.sort(random.permutation(len(strangers))[:REHEARSED])
    return replace(guard, enough=_enough(guard, schema, strangers.take(chosen), strangers_group[chosen], settings))


# --- the dialogue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rehearsal:
    """What n rows would be answered after 0, 1, 2, ... questions, each question the best for its row.

    Attributes:
        verdict: int8 [steps + 1, n], by the rule for a set of columns.
        withheld: float64 [steps + 1, n].
        columns: intp [steps, n], the column asked.
    """

    verdict: Verdicts
    withheld: Float64
    columns: Index

    def first(self, verdict: int, *, enough: float = np.inf) -> Index:
        """After how many questions each row first has a verdict, with no more power withheld than this; steps + 1 where never: [n]."""
        reached = (self.verdict == verdict) & (self.withheld <= enough)
        return np.where(reached.any(axis=0), reached.argmax(axis=0), len(reached)).astype(np.intp)


def rehearse(
    guard: PartialGuard, cost: Mapping[str, float], cells: Cells, *, steps: int, coverage: float, left_out: Index | None = None
) -> Rehearsal:
    """Ask n rows one column at a time. A column that the row has no value of is asked, and answered "cannot tell".

    Args:
        guard: the guard.
        cost: declared costs by column.
        cells: all that can be observed of the rows.
        steps: questions.
        coverage: share of familiar rows that are to be answered.
        left_out: intp [n], groups that are not known; None: all are.
    """
    questions, columns = Questions(guard, cost), len(guard.layout.columns)
    n, steps, limits = len(cells), min(steps, columns), VerdictLimits(None, 1.0, coverage)
    observed, everyone = np.zeros((n, columns), dtype=np.bool_), np.arange(n)
    verdicts, withheld, chosen = [], [], []
    for step in range(steps + 1):
        shown = cells.hidden(observed, guard.layout)
        evidence = guard.likelihood.evidence(shown, left_out=left_out)
        answers = decide_partial(guard, shown, contradictory=np.zeros(n, dtype=np.bool_), limits=limits, evidence=evidence)
        verdicts.append(answers.verdict)
        withheld.append(answers.withheld)
        if step < steps:
            column = questions.choose(shown, observed, left_out=left_out)
            observed[everyone, column] = True
            chosen.append(column)
    return Rehearsal(np.array(verdicts), np.array(withheld), np.array(chosen).reshape(steps, n))


def _enough(guard: PartialGuard, schema: DatasetSchema, strangers: Cells, group: Index, settings: GuardSettings) -> float:
    """The largest withheld power at which a dialogue may end with the negative class, so that few strangers ever get there."""
    cost = {name: column.cost for name, column in schema.columns.items()}
    played = rehearse(guard, cost, strangers, steps=MOST_QUESTIONS, coverage=settings.coverage, left_out=group)
    for enough in ENOUGH.tolist():
        ended = played.first(NEGATIVE, enough=enough) < len(played.verdict)
        if ended.mean() <= settings.unseen_risk:
            return float(enough)
    return -1.0

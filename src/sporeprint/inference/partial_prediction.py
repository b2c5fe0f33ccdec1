"""The prediction for rows of which only some columns were observed, with what is missing for a verdict."""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.prediction import OUT_OF_DISTRIBUTION, TOO_LITTLE_OBSERVED, Prediction
from sporeprint.messages.base import trusted
from sporeprint.messages.predictions import UnknownKind
from sporeprint.safety.anomalies import NEVER_SEEN, OUTSIDE, UNLIKE, RowAnomalies
from sporeprint.safety.cells import Cells, RowCells
from sporeprint.safety.group_likelihood import RowEvidence
from sporeprint.safety.partial_guard import PartialGuard
from sporeprint.safety.partial_rule import RowVerdict, decide_row
from sporeprint.safety.verdict import HALF, UNKNOWN, is_familiar

Row = Mapping[str, str | float | None]

#: Columns to look at that a reason names.
MOST_NAMED = 3
#: Stands for the classifier's probability of one row whose columns it was not trained on: it does not count.
NOT_SCORED = math.nan
#: Unit of the effects of columns, and probabilities beyond which log odds are cut off.
LOG_ODDS, LEAST_PROBABILITY = "log odds", 1e-6


def predict_partial(
    bundle: Bundle,
    guard: PartialGuard,
    cells: Cells,
    classifier: npt.NDArray[np.float64],
    anomalies: Sequence[RowAnomalies],
    *,
    evidence: Sequence[RowEvidence] | None = None,
) -> list[Prediction]:
    """Answer n rows, each by its own set of observed columns.

    Args:
        bundle: the model.
        guard: its guard of partial rows.
        cells: the rows.
        classifier: float64 [n], the classifier's calibrated P(positive).
        anomalies: of each row.
        evidence: what the rows say, where somebody has asked it already.
    """
    limits, evidence = bundle.safety.limits, guard.likelihood.rows_evidence(cells) if evidence is None else evidence
    verdicts = [
        decide_row(guard, key, of_row, contradictory=bool(row.contradictions), limits=limits, classifier=probability)
        for key, of_row, row, probability in zip(cells.keys, evidence, anomalies, classifier.tolist(), strict=True)
    ]
    doubts = _doubts(bundle, cells, verdicts, anomalies) if any(row.verdict == UNKNOWN for row in verdicts) else {}
    return [
        _prediction(bundle, row, of_row, doubts.get(number, _NO_DOUBT))
        for number, (row, of_row) in enumerate(zip(verdicts, anomalies, strict=True))
    ]


def predict_partial_row(bundle: Bundle, guard: PartialGuard, cells: RowCells, classifier: float, anomalies: RowAnomalies) -> Prediction:
    """Answer one row, as `predict_partial` does, without the cost of arrays of one."""
    evidence, limits = guard.likelihood.row_evidence(cells.places, cells.numbers), bundle.safety.limits
    row = decide_row(guard, cells.key, evidence, contradictory=bool(anomalies.contradictions), limits=limits, classifier=classifier)
    doubt = _doubts(bundle, cells.cells(guard.layout), [row], [anomalies])[0] if row.verdict == UNKNOWN else _NO_DOUBT
    return _prediction(bundle, row, anomalies, doubt)


def _prediction(bundle: Bundle, row: RowVerdict, anomalies: RowAnomalies, doubt: "_Doubt") -> Prediction:
    rule, target = bundle.safety, bundle.schema.target
    return trusted(
        Prediction,
        prediction=target.positive if row.probability > HALF else target.negative,
        probability=row.probability,
        verdict=bundle.words[row.verdict],
        novelty_p=row.p,
        threshold=rule.threshold.value,
        unseen=anomalies.unseen,
        outside=anomalies.outside,
        contradictions=anomalies.contradictions,
        most_like=rule.components[row.group],
        **doubt,
    )


class _Doubt(TypedDict):
    """Why the verdict on a row is unknown; see `Prediction`."""

    reason: str | None
    unknown: UnknownKind | None
    look_at: tuple[str, ...]


_NO_DOUBT = _Doubt(reason=None, unknown=None, look_at=())


def _doubts(bundle: Bundle, cells: Cells, verdicts: Sequence[RowVerdict], anomalies: Sequence[RowAnomalies]) -> dict[int, _Doubt]:
    """Why verdicts are unknown, by the numbers of their rows."""
    doubts, columns = {}, cells.observed.shape[1]
    if lacking := [number for number, row in enumerate(verdicts) if row.too_little]:
        for number, look_at in zip(lacking, look_at_next(bundle, cells.take(np.array(lacking))), strict=True):
            reason = too_little_reason(verdicts[number].observed, columns, look_at)
            doubts[number] = _Doubt(reason=reason, unknown=TOO_LITTLE_OBSERVED, look_at=look_at)
    for number, row in enumerate(verdicts):
        if row.verdict == UNKNOWN and not row.too_little:
            reason = unlike_reason(bundle, cells.take(slice(number, number + 1)), np.array([row.group]), anomalies[number], row.p)
            doubts[number] = _Doubt(reason=reason, unknown=OUT_OF_DISTRIBUTION, look_at=())
    return doubts


def partial_effects(guard: PartialGuard, cells: Cells) -> tuple[tuple[str, ...], npt.NDArray[np.float64], float]:
    """What each observed column of one row does to the log odds of the positive class, and the log odds with none observed.

    The effect of a column is by how much it alone changes the log odds: where several columns tell the same, each of them has it.

    Returns:
        The observed columns; float64 [columns]; the log odds with nothing observed.
    """
    at = np.flatnonzero(cells.observed[0])
    masks = np.zeros((len(at) + 1, cells.observed.shape[1]), dtype=np.bool_)
    masks[np.arange(len(at)), at] = True
    repeated = cells.take(np.zeros(len(masks), dtype=np.intp)).hidden(masks, guard.layout)
    positive = guard.likelihood.evidence(repeated).positive.clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    odds = np.log(positive) - np.log1p(-positive)
    return tuple(guard.layout.columns[number] for number in at.tolist()), odds[:-1] - odds[-1], float(odds[-1])


def look_at_next(bundle: Bundle, cells: Cells, *, most: int = MOST_NAMED) -> list[tuple[str, ...]]:
    """The columns that n rows would best be looked at in next, the best first."""
    questions = bundle.questions
    return [()] * len(cells) if questions is None else questions.columns(cells, most=most)


def too_little_reason(observed: int, columns: int, look_at: Sequence[str]) -> str:
    """Why too little was observed for a verdict, and what to look at."""
    hint = f"; look at: {', '.join(look_at)}" if look_at else "; no other column would tell"
    return f"too little observed ({observed} of {columns} columns){hint}"


def unlike_reason(bundle: Bundle, cells: Cells, group: npt.NDArray[np.intp], anomalies: RowAnomalies, p: float) -> str:
    """In what one row is unlike everything that is known."""
    parts = [",".join(anomalies.contradictions)] if anomalies.contradictions else []
    if not is_familiar(p, bundle.safety.coverage):
        unseen = [f"{NEVER_SEEN}: {','.join(anomalies.unseen)}"] if anomalies.unseen else []
        outside = [f"{OUTSIDE}: {','.join(anomalies.outside)}"] if anomalies.outside else []
        parts = [*unseen, *outside, *parts, f"{UNLIKE} (p = {round(p, 6)}){unusual_columns(bundle, cells, group)[0]}"]
    return "; ".join(parts)


def unusual_columns(bundle: Bundle, cells: Cells, group: npt.NDArray[np.intp]) -> list[str]:
    """For n rows the columns that are least like what each resembles most, as the end of a reason; "" where none stands out."""
    questions = bundle.questions
    columns = [()] * len(cells) if questions is None else questions.unusual(cells, group)
    return [f", most of all in: {', '.join(names)}" if names else "" for names in columns]

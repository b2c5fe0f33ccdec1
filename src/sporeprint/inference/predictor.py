"""The answer to one row, and its reasons: by look-ups, without a data frame, to the same numbers as for a table."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sporeprint.data.coded_table import NUMBER
from sporeprint.data.groups import GroupName
from sporeprint.errors import DataError
from sporeprint.errors import nearest as nearest_word
from sporeprint.inference import attributions as reasons
from sporeprint.inference.attributions import Explainer, Reason
from sporeprint.inference.model_bundle import Bundle
from sporeprint.safety import nearest_neighbour as nearest
from sporeprint.safety.anomalies import NEVER_SEEN, NO_THRESHOLD, OUTSIDE, UNLIKE, StrangeRow, strange_row
from sporeprint.safety.nearest_neighbour import Known, Nearest
from sporeprint.safety.verdict import HALF, UNKNOWN, is_familiar, verdict, words
from sporeprint.schema import Column, DatasetSchema, Kind

Row = Mapping[str, str | float | None]


@dataclass(frozen=True)
class Answer:
    """What a model says of one row.

    Attributes:
        prediction: the likelier class's code.
        probability: P(positive), calibrated.
        verdict: a class's word, or "unknown".
        novelty_p: the guard's p-value.
        threshold: the largest probability that is answered with the negative class; None where it never is.
        unseen: columns whose value the model has never seen.
        outside: columns whose number lies outside the training rows'.
        contradictions: what the row says against itself, in words.
        reason: why the verdict is "unknown"; None where it is not.
        most_like: the guard's component that the row is most like.
    """

    prediction: str
    probability: float
    verdict: str
    novelty_p: float
    threshold: float | None
    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]
    reason: str | None
    most_like: GroupName


@dataclass(frozen=True)
class Explanation:
    """An answer and its reasons.

    Attributes:
        answer: the answer.
        reasons: the columns that moved the score most, the strongest first; empty where the model cannot be explained.
        unit: of their effects; None where there are none.
        base: the score that they start from.
        nearest: the nearest known observation; None where none is kept.
        nearest_is: the component it belongs to.
    """

    answer: Answer
    reasons: tuple[Reason, ...]
    unit: str | None
    base: float
    nearest: Nearest | None
    nearest_is: GroupName | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def answer(bundle: Bundle, row: Row) -> Answer:
    """Answer one row.

    Args:
        bundle: the model.
        row: column -> code, number or None; a column left out is missing.
    """
    safety, schema = bundle.safety, bundle.schema
    score = bundle.scorer.score(bundle.encoder.encode_row(row)[np.newaxis])
    probability = float(safety.calibration(score)[0])
    novelty_p, component = safety.guard.row(row)
    strange = strange_row(row, bundle.encoder, schema)
    found = int(verdict(probability, novelty_p, bool(strange), threshold=safety.threshold.value, coverage=safety.coverage))
    target = schema.target
    return Answer(
        prediction=target.positive if probability > HALF else target.negative,
        probability=probability,
        verdict=words(schema)[found],
        novelty_p=novelty_p,
        threshold=safety.threshold.value,
        unseen=strange.unseen,
        outside=strange.outside,
        contradictions=strange.contradictions,
        reason=why_unknown(strange, novelty_p, safety.coverage) if found == UNKNOWN else None,
        most_like=safety.components[component],
    )


def why_unknown(strange: StrangeRow, novelty_p: float, coverage: float) -> str:
    """Why a row is answered with "unknown", in a sentence."""
    parts = [
        *([f"{NEVER_SEEN}: {','.join(strange.unseen)}"] if strange.unseen else []),
        *([f"{OUTSIDE}: {','.join(strange.outside)}"] if strange.outside else []),
        *([",".join(strange.contradictions)] if strange.contradictions else []),
        *([] if is_familiar(novelty_p, coverage) else [f"{UNLIKE} (p = {round(novelty_p, 6)})"]),
    ]
    # What is familiar and still unknown is so for want of a threshold.
    return "; ".join(parts) or NO_THRESHOLD


def explain(bundle: Bundle, row: Row, *, most: int = 5) -> Explanation:
    """Answer one row and say why.

    Args:
        bundle: the model.
        row: see `answer`.
        most: columns named at the most.
    """
    X = bundle.encoder.encode_row(row)[np.newaxis]
    explainer, safety = Explainer.from_files(bundle.parts), bundle.safety
    moved = explainer.contributions(X, bundle.scorer)
    named = () if moved is None else reasons.reasons(moved[0][0], bundle.encoder.sources, row, bundle.schema, most=most)
    known = Known.from_bytes(bundle.parts[nearest.FILE])
    component = safety.guard.row(row)[1]
    near = known.nearest(row, safety.guard, component)
    return Explanation(
        answer=answer(bundle, row),
        reasons=named,
        unit=explainer.unit,
        base=0.0 if moved is None else moved[1],
        nearest=near,
        nearest_is=None if near is None else safety.components[near.component],
    )


def parse_row(given: Mapping[str, Any], schema: DatasetSchema) -> dict[str, str | float | None]:
    """A row as people give it, in the schema's names and codes.

    Args:
        given: column -> value. Names with hyphen or underscore; nominal values as code or word; None and "" are missing.
        schema: the contract.

    Raises:
        DataError: naming every field that is unknown, given twice, or no number where one is needed.
    """
    columns = {name.replace("-", "_"): name for name in schema.columns}
    found: dict[str, str | float | None] = {}
    problems = []
    for key, value in given.items():
        name = columns.get(key.replace("-", "_"))
        if name is None:
            problems.append(f"unknown field {key!r}{nearest_word(key, schema.columns)}; known: {', '.join(schema.columns)}")
        elif name in found:
            problems.append(f"field {name!r} is given twice")
        else:
            try:
                found[name] = _value(name, value, schema)
            except ValueError as error:
                problems.append(str(error))
    problems += [f"field {name!r} is required" for name, column in schema.columns.items() if column.required and found.get(name) is None]
    if problems:
        raise DataError("; ".join(problems))
    return found


def _value(name: str, value: Any, schema: DatasetSchema) -> str | float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    column = schema.columns[name]
    if column.kind is Kind.NOMINAL:
        if not isinstance(value, str):
            raise ValueError(f"field {name!r}: expected a text, got {value!r}")
        codes = {word: code for code, word in (column.values or {}).items()}
        text = value.strip()
        # A code wins over a word; what is neither is a value that nobody has seen, which is for the verdict to say.
        return text if text in (column.values or {}) else codes.get(text.lower(), codes.get(text, text))
    return _number(name, value, column)


def _number(name: str, value: Any, column: Column) -> float:
    text = f"field {name!r}: expected a number{'' if column.unit is None else f' of {column.unit}'}, got {value!r}"
    known = not isinstance(value, bool) and (
        isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(NUMBER, value.strip()) is not None)
    )
    number = float(value) if known else math.nan
    if not math.isfinite(number):
        raise ValueError(text)
    low, high = column.min, column.max
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(
            f"field {name!r}: {number:g} is out of range, allowed is {low} to {high}{f' {column.unit}' if column.unit else ''}"
        )
    return number

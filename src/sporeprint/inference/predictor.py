"""The prediction of one row, and its feature attributions: by look-ups, without a data frame, to the same numbers as for a table."""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from sporeprint.data.groups import GroupName
from sporeprint.data.written_values import date_form, parse_code, parse_date, parse_number, range_text
from sporeprint.errors import DataError, nearest
from sporeprint.inference.attributions import Attribution, Explainer, top_attributions, value_in_words
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.partial_prediction import LOG_ODDS, NOT_SCORED, partial_effects, predict_partial_row
from sporeprint.inference.prediction import OUT_OF_DISTRIBUTION, Prediction
from sporeprint.safety.anomalies import (
    BETWEEN,
    DISAGREE,
    NEVER_SEEN,
    NO_THRESHOLD,
    OUTSIDE,
    UNLIKE,
    RowAnomalies,
    row_anomalies,
)
from sporeprint.safety.cells import Cells, RowCells
from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.safety.nearest_neighbour import REFERENCE_FILE, NearestRow, ReferenceRows
from sporeprint.safety.verdict import HALF, UNKNOWN, is_familiar, verdict_words
from sporeprint.schema import NUMBER, Column, DatasetSchema, Kind, day_number

Row = Mapping[str, str | float | None]

#: A field with this value was not observed, as one that is left out.
NOT_OBSERVED = "not observed"


@dataclass(frozen=True)
class Explanation:
    """An answer and its reasons.

    Attributes:
        prediction: the prediction.
        attributions: the columns with the largest effect on the score, the largest first; empty where the model cannot be explained.
        unit: of their effects; None where there are none.
        base: the score that they start from.
        nearest: the nearest known observation; None where none is kept.
        nearest_component: the component it belongs to.
    """

    prediction: Prediction
    attributions: tuple[Attribution, ...]
    unit: str | None
    base: float
    nearest: NearestRow | None
    nearest_component: GroupName | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def predict_row(bundle: Bundle, row: Row) -> Prediction:
    """Predict one row.

    Args:
        bundle: the model.
        row: column -> code, number or None (recorded as empty). A column left out was not observed; for a version that cannot
            answer partial rows it is empty.
    """
    rule = bundle.safety
    anomalies = row_anomalies(row, bundle.encoder, bundle.schema)
    partial = rule.partial if rule.partial is not None and rule.partial.answers(row) else None
    cells = None if partial is None else RowCells.of_row(row, partial.layout)
    probability = NOT_SCORED
    if partial is None or cells is None or cells.key in partial.trained:
        probability = float(rule.calibration(bundle.scorer.score(bundle.encoder.encode_row(row)[np.newaxis]))[0])
    if partial is not None and cells is not None:
        return predict_partial_row(bundle, partial, cells, probability, anomalies)
    novelty_p, component = rule.guard.row(row)
    return row_prediction(rule, bundle.schema, probability, novelty_p, component, anomalies)


def row_prediction(
    rule: DecisionRule,
    schema: DatasetSchema,
    probability: float,
    novelty_p: float,
    component: int,
    anomalies: RowAnomalies,
    code: int | None = None,
) -> Prediction:
    """The prediction of one row, put together from what was computed of it.

    Args:
        rule: the model's decision rule.
        schema: the contract.
        probability: P(positive), calibrated.
        novelty_p: the guard's p-value.
        component: the guard's component that the row is most like.
        anomalies: of the row.
        code: the verdict, where it was made for many rows at once; None: it is made here.
    """
    if code is None:
        code = int(rule.decide(probability, novelty_p, bool(anomalies.contradictions), component))
    target = schema.target
    return Prediction(
        prediction=target.positive if probability > HALF else target.negative,
        probability=probability,
        verdict=verdict_words(schema)[code],
        novelty_p=novelty_p,
        threshold=rule.threshold.value,
        unseen=anomalies.unseen,
        outside=anomalies.outside,
        contradictions=anomalies.contradictions,
        reason=unknown_reason(rule, probability, novelty_p, anomalies) if code == UNKNOWN else None,
        most_like=rule.components[component],
        unknown=OUT_OF_DISTRIBUTION if code == UNKNOWN and not is_familiar(novelty_p, rule.coverage) else None,
    )


def unknown_reason(rule: DecisionRule, probability: float, novelty_p: float, anomalies: RowAnomalies) -> str:
    """Why the verdict on a row is "unknown", in a sentence; the arguments as in `row_prediction`."""
    limits = rule.limits
    parts = [",".join(anomalies.contradictions)] if anomalies.contradictions else []
    if not is_familiar(novelty_p, limits.coverage):
        unseen = [f"{NEVER_SEEN}: {','.join(anomalies.unseen)}"] if anomalies.unseen else []
        outside = [f"{OUTSIDE}: {','.join(anomalies.outside)}"] if anomalies.outside else []
        parts = [*unseen, *outside, *parts, f"{UNLIKE} (p = {round(novelty_p, 6)})"]
    if parts:
        return "; ".join(parts)
    if limits.negative is None:
        return NO_THRESHOLD
    return DISAGREE if probability <= limits.negative else BETWEEN


def explain_row(bundle: Bundle, row: Row, *, most: int = 5) -> Explanation:
    """Answer one row and say why.

    Args:
        bundle: the model.
        row: see `answer`.
        most: columns named at the most.
    """
    rule = bundle.safety
    prediction = predict_row(bundle, row)
    partial = rule.partial if rule.partial is not None and rule.partial.answers(row) else None
    cells = None if partial is None else Cells.of_rows([row], partial.layout)
    component = rule.guard.row(row)[1] if partial is None or cells is None else int(partial.likelihood.evidence(cells).group[0])
    unit: str | None
    if partial is not None and cells is not None and cells.keys[0] not in partial.trained:
        # The classifier never saw rows with this set of columns: what it would say of them is no reason.
        columns, effects, base = partial_effects(partial, cells)
        named, unit = top_attributions(effects, columns, row, bundle.schema, most=most), LOG_ODDS
    else:
        explainer = Explainer.from_files(bundle.parts)
        moved = explainer.contributions(bundle.encoder.encode_row(row)[np.newaxis], bundle.scorer)
        unit, base = explainer.unit, 0.0 if moved is None else moved[1]
        named = () if moved is None else top_attributions(moved[0][0], bundle.encoder.sources, row, bundle.schema, most=most)
    reference = ReferenceRows.from_bytes(bundle.parts[REFERENCE_FILE])
    nearest_row = reference.nearest(row, rule.guard, component, observed_only=partial is not None)
    return Explanation(
        prediction=prediction,
        attributions=named,
        unit=unit,
        base=base,
        nearest=nearest_row,
        nearest_component=None if nearest_row is None else rule.components[nearest_row.component],
    )


def parse_row(fields: Mapping[str, Any], schema: DatasetSchema) -> dict[str, str | float | None]:
    """A row as people give it, in the schema's names and codes.

    Args:
        fields: column -> value. Names with hyphen or underscore; nominal values as code or word; None and "" are an empty cell;
            `NOT_OBSERVED` says the same as leaving the column out.
        schema: the contract.

    Raises:
        DataError: naming every field that is unknown, given twice, or no number where one is needed.
    """
    columns = {name.replace("-", "_"): name for name in schema.columns}
    row: dict[str, str | float | None] = {}
    problems = []
    for key, value in fields.items():
        name = columns.get(key.replace("-", "_"))
        if name is None:
            problems.append(f"unknown field {key!r}{nearest(key, schema.columns)}; known: {', '.join(schema.columns)}")
        elif name in row:
            problems.append(f"field {name!r} is given twice")
        else:
            try:
                row[name] = _value(name, value, schema)
            except ValueError as error:
                problems.append(str(error))
    row = {name: value for name, value in row.items() if value != NOT_OBSERVED}
    problems += _count_since(row, schema)
    problems += [f"field {name!r} is required" for name, column in schema.columns.items() if column.required and row.get(name) is None]
    if problems:
        raise DataError("; ".join(problems))
    return row


def _count_since(row: dict[str, str | float | None], schema: DatasetSchema) -> list[str]:
    """Write days since another date where the schema counts so; the dates that are out of range, a sentence each."""
    problems = []
    dates = {name: value for name, value in row.items() if isinstance(value, float) and schema.columns[name].kind is Kind.DATE}
    for name, value in dates.items():
        column, since = schema.columns[name], schema.columns[name].since
        if since is not None:
            start = dates.get(since) if since in schema.columns else day_number(since)
            row[name] = days = None if start is None else value - start
        else:
            days = value
        if days is not None and not (column.min is None or days >= column.min) & (column.max is None or days <= column.max):
            problems.append(f"field {name!r}: {value_in_words(days, name, schema)} is out of range{range_text(column)}")
    return problems


def not_observed(fields: Mapping[str, Any], schema: DatasetSchema) -> frozenset[str]:
    """The columns of a row as people give it that say of themselves that they were not observed."""
    columns = {name.replace("-", "_"): name for name in schema.columns}
    stated = [key for key, value in fields.items() if isinstance(value, str) and value.strip() == NOT_OBSERVED]
    return frozenset(columns[key.replace("-", "_")] for key in stated if key.replace("-", "_") in columns)


def _value(name: str, value: Any, schema: DatasetSchema) -> str | float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    column = schema.columns[name]
    if isinstance(value, str) and value.strip() == NOT_OBSERVED and value.strip() not in (column.values or {}):
        return NOT_OBSERVED
    if column.kind is Kind.NOMINAL:
        if not isinstance(value, str | int | float):
            raise ValueError(f"field {name!r}: expected a text or a number, got {value!r}")
        codes = {word: code for code, word in (column.values or {}).items()}
        text = parse_code(value, schema.missing_words(name), column.values or {}, {})
        if text is None:
            return None
        # A code wins over a word; what is neither is a value that nobody has seen, which is for the verdict to say.
        return text if text in (column.values or {}) else codes.get(text.lower(), codes.get(text, text))
    missing = schema.missing_words(name)
    if column.kind is Kind.DATE:
        # A file's whole numbers are dates, too, where the format is of digits alone.
        text = str(value) if column.format and type(value) is int else value
        try:
            return day_number(value) if isinstance(value, date) else parse_date(text, missing, column)
        except (ValueError, TypeError):
            raise ValueError(f"field {name!r}: expected a date{date_form(column)}, got {value!r}") from None
    if isinstance(value, str) or (missing and isinstance(value, int | float)):
        with contextlib.suppress(ValueError):  # said below, with the unit
            value = parse_number(str(value), missing, column)
        if value is None:
            return None
    return _number(name, value, column)


def _number(name: str, value: Any, column: Column) -> float:
    text = f"field {name!r}: expected a number{'' if column.unit is None else f' of {column.unit}'}, got {value!r}"
    is_number = not isinstance(value, bool) and (
        isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(NUMBER, value.strip()) is not None)
    )
    number = float(value) if is_number else math.nan
    if not math.isfinite(number):
        raise ValueError(text)
    low, high = column.min, column.max
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(
            f"field {name!r}: {number:g} is out of range, allowed is {low} to {high}{f' {column.unit}' if column.unit else ''}"
        )
    return number

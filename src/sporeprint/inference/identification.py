"""Identifying one thing step by step: which known groups still fit, what to look at next, and a verdict once there may be one.

The key and the verdict are two things. The key says which known groups the observed columns do not exclude; it is no verdict, as a
group that nobody has shown the model may fit, too. The negative class is answered only once so much was observed that few strangers
get so far, whichever way they were asked (`PartialGuard.enough`).
"""

from collections.abc import Mapping

from sporeprint.common.dates import date_text
from sporeprint.errors import DataError, nearest
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.partial_prediction import too_little_reason
from sporeprint.inference.prediction import TOO_LITTLE_OBSERVED
from sporeprint.inference.predictor import predict_row
from sporeprint.messages.identification import AnswerMeaning, GroupFit, GroupNearMiss, Identification, NextQuestion
from sporeprint.safety.cells import Cells
from sporeprint.safety.next_question import PossibleValue, Question
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema, Kind

Row = Mapping[str, str | float | None]


def identify_row(
    bundle: Bundle, row: Row, *, cannot_tell: frozenset[str] = frozenset(), most_fits: int = 8, most_questions: int = 3
) -> Identification:
    """Say where the identification of one row stands.

    Args:
        bundle: the model.
        row: column -> code, number or None; a column left out was not observed.
        cannot_tell: columns that nobody need ask for again.
        most_fits: groups that are named.
        most_questions: questions that are named.

    Raises:
        DataError: if the model is of a version that cannot answer partial rows.
    """
    partial, questions, schema = bundle.safety.partial, bundle.questions, bundle.schema
    if partial is None or questions is None:
        raise DataError(f"model {bundle.name!r} was made before models could identify step by step; train a new version: sporeprint etl")
    cells = Cells.of_rows([row], partial.layout)
    prediction = predict_row(bundle, row)
    key = questions.key(cells, coverage=bundle.safety.coverage)
    next_columns = questions.best(cells, most=most_questions, without=cannot_tell)
    negative, _, unknown_word = verdict_words(schema)
    observed, columns = int(cells.observed.sum()), len(partial.layout.columns)
    verdict, unknown, reason = prediction.verdict, prediction.unknown, prediction.reason
    withheld = float(partial.profile(cells.keys[0]).withheld[partial.likelihood.evidence(cells).group[0]])
    if verdict == negative and next_columns and withheld > partial.enough:
        verdict, unknown = unknown_word, TOO_LITTLE_OBSERVED
    if unknown == TOO_LITTLE_OBSERVED:
        reason = too_little_reason(observed, columns, [question.column for question in next_columns])
    names = bundle.safety.components

    def class_of(positive: float) -> str:
        return schema.target.values[schema.target.positive if positive > 0.5 else schema.target.negative]

    return Identification(
        verdict=verdict,
        is_final=unknown != TOO_LITTLE_OBSERVED or not next_columns,
        unknown=unknown,
        reason=reason,
        observed=observed,
        columns=columns,
        fitting=len(key.fits),
        fitting_positive=sum(fit.positive > 0.5 for fit in key.fits),
        fits=tuple(
            GroupFit(group=str(names[fit.group]), likely_class=class_of(fit.positive), likelihood=fit.likelihood)
            for fit in key.fits[:most_fits]
        ),
        near_misses=tuple(
            GroupNearMiss(
                group=str(names[miss.group]),
                likely_class=class_of(miss.positive),
                column=miss.column,
                value=words_of(row[miss.column], miss.column, schema),
            )
            for miss in key.near_misses
        ),
        next_questions=tuple(_question(question, schema) for question in next_columns) if unknown == TOO_LITTLE_OBSERVED else (),
        unseen={name: _slip(name, row.get(name), partial.layout.categories.get(name, ()), schema) for name in prediction.unseen},
        outside=prediction.outside,
        contradictions=prediction.contradictions,
    )


def _question(question: Question, schema: DatasetSchema) -> NextQuestion:
    column = schema.columns[question.column]
    return NextQuestion(
        column=question.column,
        description=column.description,
        kind=column.kind.value,
        unit=column.unit,
        class_bits=question.class_bits,
        power=question.power,
        cost=question.cost,
        answers=tuple(_meaning(value, question.column, schema) for value in question.values),
    )


def _meaning(value: PossibleValue, column: str, schema: DatasetSchema) -> AnswerMeaning:
    if isinstance(value.value, str):
        words = schema.word(column, value.value)
        return AnswerMeaning(value=value.value, words=words, likelihood=value.likelihood, positive=value.positive)
    low, high = value.value
    unit = f" {schema.columns[column].unit}" if schema.columns[column].unit else ""
    first, last = (None if end is None else _number_text(end, column, schema) for end in (low, high))
    text = f"below {last}" if first is None else f"{first} or more" if last is None else f"{first} to {last}"
    return AnswerMeaning(value=text, words=text + unit, likelihood=value.likelihood, positive=value.positive)


def words_of(value: str | float | None, column: str, schema: DatasetSchema) -> str:
    """A value as people say it: "brown", "12 cm", "nothing recorded"."""
    if value is None:
        return "nothing recorded"
    if isinstance(value, str):
        return schema.word(column, value)
    unit = schema.columns[column].unit
    return f"{_number_text(value, column, schema)}{f' {unit}' if unit else ''}"


def _number_text(value: float, column: str, schema: DatasetSchema) -> str:
    is_date = schema.columns[column].kind is Kind.DATE and schema.columns[column].since is None
    return date_text(value) if is_date else f"{value:g}"


def _slip(column: str, value: str | float | None, known: tuple[str, ...], schema: DatasetSchema) -> str:
    """What a value that was never seen may be a slip of, in words."""
    words = [schema.word(column, code) for code in known]
    return f"{value!r} was never seen{nearest(str(value), words)}; seen: {', '.join(words)}"

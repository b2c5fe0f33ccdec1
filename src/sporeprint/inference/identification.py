"""Identifying one thing step by step: which known groups still fit, what to look at next, and a verdict once there may be one.

The key and the verdict are two things. The key says which known groups the observed columns do not exclude; it is no verdict, as a
group that nobody has shown the model may fit, too. The negative class is answered only once so much was observed that few strangers
get so far, whichever way they were asked (`PartialGuard.enough`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sporeprint.data.groups import GroupName
from sporeprint.errors import DataError, nearest
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.partial_prediction import too_little_reason
from sporeprint.inference.prediction import TOO_LITTLE_OBSERVED
from sporeprint.inference.predictor import predict_row
from sporeprint.safety.cells import Cells
from sporeprint.safety.next_question import PossibleValue, Question
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema, Kind

Row = Mapping[str, str | float | None]


@dataclass(frozen=True)
class GroupFit:
    """A known group that the observed columns do not exclude.

    Attributes:
        group: its name; a cluster has none but its number.
        likely_class: the class's word that most of its rows have.
        likelihood: how likely it is, among all known groups.
    """

    group: GroupName
    likely_class: str
    likelihood: float


@dataclass(frozen=True)
class GroupNearMiss:
    """A known group that would fit, but for one column."""

    group: GroupName
    likely_class: str
    column: str
    value: str


@dataclass(frozen=True)
class AnswerMeaning:
    """What one answer to a question would mean: its code and words, how likely it is, and P(positive class) among known groups after it."""

    value: str
    words: str
    likelihood: float
    positive: float


@dataclass(frozen=True)
class NextQuestion:
    """A column to look at.

    Attributes:
        column: its name.
        description: what it says, where the contract has that.
        kind: numeric or nominal.
        unit: of a numeric column.
        class_bits: expected information about the class, in bits.
        power: expected surprise, in nats, of the likeliest group at the value of a group nobody has shown.
        cost: what it costs to look, beside the other columns.
        answers: what each answer would mean, the likeliest first.
    """

    column: str
    description: str | None
    kind: Kind
    unit: str | None
    class_bits: float
    power: float
    cost: float
    answers: tuple[AnswerMeaning, ...]


@dataclass(frozen=True)
class Identification:
    """Where an identification stands.

    Attributes:
        verdict: a class's word, or "unknown".
        is_final: whether the verdict will not get better by looking further: it is a class, or no column is left that would tell.
        unknown: which kind of "unknown": `TOO_LITTLE_OBSERVED` or `OUT_OF_DISTRIBUTION`; None for another verdict.
        reason: why it is unknown.
        observed: columns observed.
        columns: all columns.
        fitting: known groups that fit.
        fitting_positive: those of them of the positive class.
        fits: the likeliest of them.
        near_misses: groups that one column excludes.
        next_questions: what to look at next, the best first.
        unseen: columns whose value was never seen, each with what it may be a slip of.
        outside: columns whose number lies outside the training rows'.
        contradictions: what the row says against itself.
    """

    verdict: str
    is_final: bool
    unknown: str | None
    reason: str | None
    observed: int
    columns: int
    fitting: int
    fitting_positive: int
    fits: tuple[GroupFit, ...]
    near_misses: tuple[GroupNearMiss, ...]
    next_questions: tuple[NextQuestion, ...]
    unseen: Mapping[str, str]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


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
    withheld = float(partial.withheld(cells.observed, partial.likelihood.evidence(cells).group)[0])
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
        fits=tuple(GroupFit(names[fit.group], class_of(fit.positive), fit.likelihood) for fit in key.fits[:most_fits]),
        near_misses=tuple(
            GroupNearMiss(names[miss.group], class_of(miss.positive), miss.column, words_of(row[miss.column], miss.column, schema))
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
        kind=column.kind,
        unit=column.unit,
        class_bits=question.class_bits,
        power=question.power,
        cost=question.cost,
        answers=tuple(_meaning(value, question.column, schema) for value in question.values),
    )


def _meaning(value: PossibleValue, column: str, schema: DatasetSchema) -> AnswerMeaning:
    if isinstance(value.value, str):
        return AnswerMeaning(value.value, schema.word(column, value.value), value.likelihood, value.positive)
    low, high = value.value
    unit = f" {schema.columns[column].unit}" if schema.columns[column].unit else ""
    text = f"below {high:g}" if low is None else f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
    return AnswerMeaning(text, text + unit, value.likelihood, value.positive)


def words_of(value: str | float | None, column: str, schema: DatasetSchema) -> str:
    """A value as people say it: "brown", "12 cm", "nothing recorded"."""
    if value is None:
        return "nothing recorded"
    if isinstance(value, str):
        return schema.word(column, value)
    unit = schema.columns[column].unit
    return f"{value:g}{f' {unit}' if unit else ''}"


def _slip(column: str, value: str | float | None, known: tuple[str, ...], schema: DatasetSchema) -> str:
    """What a value that was never seen may be a slip of, in words."""
    words = [schema.word(column, code) for code in known]
    return f"{value!r} was never seen{nearest(str(value), words)}; seen: {', '.join(words)}"

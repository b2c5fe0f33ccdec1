"""Answers one observation with a registered model, and says why: what `sporeprint explain` and `sporeprint identify` show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sporeprint.common.text_table import Table
from sporeprint.common.workdir import Workdir
from sporeprint.errors import UsageError, nearest
from sporeprint.inference.attributions import value_in_words
from sporeprint.inference.identification import identify_row
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import Explanation, explain_row, not_observed, parse_row
from sporeprint.messages.identification import Identification
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema

#: Answers to a question that are shown beside it.
MOST_ANSWERS_SHOWN = 4


@dataclass(frozen=True)
class ExplainResult:
    """An answer to one observation with its reasons."""

    model: str
    simulated: bool
    row: Mapping[str, str | float | None]
    schema: DatasetSchema
    explanation: Explanation

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"model": self.model, "simulated": self.simulated, "row": dict(self.row), **self.explanation.to_dict()}

    def tables(self) -> list[Table]:
        """As people read it."""
        answer, positive = self.explanation.prediction, self.schema.target.values[self.schema.target.positive]
        rows = [
            ("verdict", answer.verdict),
            *([("because", answer.reason)] if answer.reason else []),
            *([("look at", ", ".join(answer.look_at))] if answer.look_at else []),
            *((name, f"{self.row[name]!r} was never seen{self._meant(name)}") for name in answer.unseen),
            # Beside "unknown", a probability would be read as an answer.
            *([(f"probability of {positive}", f"{answer.probability:.4g}")] if answer.reason is None else []),
            ("novelty p-value", f"{answer.novelty_p:.4g}"),
            ("most like", str(answer.most_like)),
            ("model", self.model + (" (trained on SIMULATED data)" if self.simulated else "")),
        ]
        return [
            Table("Answer", ("", ""), tuple(rows)),
            self._attributions(positive),
            *self._nearest(),
        ]

    def _attributions(self, positive: str) -> Table:
        if self.explanation.unit is None:
            return Table(
                "Feature attributions", ("", ""), (("none", "this version was registered without them; train or import it again"),)
            )
        named = tuple((reason.text, f"{reason.effect:+.3f}") for reason in self.explanation.attributions)
        return Table("Feature attributions", ("column", f"towards {positive}, in {self.explanation.unit}"), named)

    def _meant(self, column: str) -> str:
        """What a value that was never seen may be a slip of."""
        return nearest(str(self.row[column]), list((self.schema.columns[column].values or {}).values()))

    def _nearest(self) -> list[Table]:
        near = self.explanation.nearest
        if near is None:
            return []
        title = f"Nearest known observation: row {near.row:,} of the training table, {self.explanation.nearest_component}"
        differing = tuple(
            (name, value_in_words(self.row.get(name), name, self.schema), value_in_words(near.values[name], name, self.schema))
            for name in near.differing
        )
        same = (("all columns", "the same", "the same"),)
        return [Table(title, ("differs in", "this one", "the known one"), differing or same)]


@dataclass(frozen=True)
class IdentifyResult:
    """Where an identification stands."""

    model: str
    simulated: bool
    schema: DatasetSchema
    identification: Identification

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"model": self.model, "simulated": self.simulated, **self.identification.to_dict()}

    def tables(self) -> list[Table]:
        """As people read it: the verdict, what still fits, and what to look at next."""
        return identification_tables(self.identification, self.schema, self.model, simulated=self.simulated)


def identification_tables(result: Identification, schema: DatasetSchema, model: str, *, simulated: bool) -> list[Table]:
    """Where an identification stands, in tables. What fits is counted by class; only the verdict says what it is."""
    negative, positive = (schema.target.values[code] for code in (schema.target.negative, schema.target.positive))
    counts = f"{result.fitting}: {result.fitting_positive} {positive}, {result.fitting - result.fitting_positive} {negative}"
    answer = [
        ("verdict", result.verdict),
        *([("because", result.reason)] if result.reason else []),
        *(("never seen", f"{column}: {text}") for column, text in result.unseen.items()),
        *(("outside what was seen", column) for column in result.outside),
        *(("contradiction", text) for text in result.contradictions),
        ("observed", f"{result.observed} of {result.columns} columns"),
        ("known groups that fit", counts if result.fitting else f"none: treat it as {positive}"),
        ("model", model + (" (trained on SIMULATED data)" if simulated else "")),
    ]
    fits = tuple((str(fit.group), fit.likely_class, f"{fit.likelihood:.1%}") for fit in result.fits)
    misses = tuple((str(miss.group), miss.likely_class, f"{miss.column}: {miss.value}") for miss in result.near_misses)
    questions = tuple(
        (question.column, question.description or "", ", ".join(meaning.words for meaning in question.answers[:MOST_ANSWERS_SHOWN]))
        for question in result.next_questions
    )
    return [
        Table("Answer", ("", ""), tuple(answer)),
        *([Table("Look at next", ("column", "what it says", "as in"), questions)] if questions else []),
        *([Table("What fits (no verdict)", ("known group", "class", "how likely"), fits)] if fits else []),
        *([Table("Would fit, but for one column", ("known group", "class", "not with"), misses)] if misses else []),
    ]


def open_model(root: Path, model: str = "production") -> tuple[str, Bundle]:
    """A registered model's name and version, and the model.

    Raises:
        RegistryError: if there is no such model, or it is damaged.
    """
    registry = Registry(Workdir(root).registry)
    resolved = registry.resolve(model)
    return resolved.ref, registry.load(resolved.ref)


def fields_of(texts: Sequence[str], schema: DatasetSchema) -> dict[str, str]:
    """FIELD=VALUE as a dictionary. A column's name may hold "=" itself: of the names that a text can begin with, the longest counts.

    Raises:
        UsageError: a text is none, or a field is given twice.
    """
    columns = {name.replace("-", "_") for name in schema.columns}
    fields: dict[str, str] = {}
    for text in texts:
        ends = [place for place, letter in enumerate(text) if letter == "="]
        if not ends or ends[0] == 0:
            raise UsageError(f"{text!r}: expected FIELD=VALUE, as in {_example(schema)}")
        end = next((place for place in reversed(ends) if text[:place].replace("-", "_") in columns), ends[0])
        name, value = text[:end], text[end + 1 :]
        if name in fields:
            raise UsageError(f"field {name!r} is given twice, as {fields[name]!r} and {value!r}; give one")
        fields[name] = value
    return fields


def _example(schema: DatasetSchema) -> str:
    """A field with a value that it can have, in the table's own words."""
    for name, column in schema.columns.items():
        if column.values:
            code = next(iter(column.values))
            return f"{name}={value_in_words(code, name, schema)}"
    return f"{next(iter(schema.columns))}=VALUE"


def _row(fields: Mapping[str, Any] | Sequence[str], schema: DatasetSchema) -> Mapping[str, Any]:
    return fields if isinstance(fields, Mapping) else fields_of(fields, schema)


def identify(root: Path, fields: Mapping[str, Any] | Sequence[str], *, model: str = "production") -> IdentifyResult:
    """Say where the identification of one observation stands.

    Args:
        root: the work directory.
        fields: column -> value, see `parse_row`, or texts FIELD=VALUE; "not observed" for what cannot be told.
        model: production, a model's name, or one version of it.

    Raises:
        RegistryError: if there is no such model, or it is damaged.
        DataError: if a field is unknown or its value is not allowed, or the version cannot answer partial rows.
        UsageError: if a text is no FIELD=VALUE, or a field is given twice.
    """
    ref, bundle = open_model(root, model)
    observation = _row(fields, bundle.schema)
    row, cannot_tell = parse_row(observation, bundle.schema), not_observed(observation, bundle.schema)
    return IdentifyResult(ref, bool(bundle.info.get("simulated")), bundle.schema, identify_row(bundle, row, cannot_tell=cannot_tell))


def explain(root: Path, fields: Mapping[str, Any] | Sequence[str], *, model: str = "production") -> ExplainResult:
    """Answer one observation with a registered model.

    Args:
        root: the work directory.
        fields: column -> value, see `parse_row`, or texts FIELD=VALUE.
        model: production, a model's name, or one version of it.

    Raises:
        RegistryError: if there is no such model, or it is damaged.
        DataError: if a field is unknown or its value is not allowed.
        UsageError: if a text is no FIELD=VALUE, or a field is given twice.
    """
    registry = Registry(Workdir(root).registry)
    version = registry.resolve(model)
    bundle = registry.load(version.ref)
    row = parse_row(_row(fields, bundle.schema), bundle.schema)
    return ExplainResult(version.ref, bool(bundle.info.get("simulated")), row, bundle.schema, explain_row(bundle, row))

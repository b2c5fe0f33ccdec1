"""What the table is: columns, kinds, units, allowed values and their words, target, groups.

The one definition of a feature. Everything that needs to know a column (validation, encoding, the HTTP shapes,
reports) reads it here; nothing else in the package names a column.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

from sporeprint.errors import nearest

#: What counts as a number: an optional sign, digits with an optional point, an optional exponent. Not `inf`, `nan`, `1,5`, `1_000`, `0x1`.
#: Digits are ASCII: `\d` would take those of every script, which no engine reads as a number.
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"

#: Texts that stand for a missing number, in lower case, as statistics programs and pandas write them.
MISSING_NUMBERS = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none")

#: The same for a nominal column, in the forms in which they are written.
MISSING_TEXTS = tuple(dict.fromkeys(form for text in MISSING_NUMBERS for form in (text, text.upper(), text.capitalize(), "NaN")))

#: Blanks that do not break a line: what stands between thousands in many exports.
WIDE_BLANKS = "\u00a0\u202f\u2009"

#: Names of the columns that the pipeline adds to a table; a dataset may not use them.
RESERVED = frozenset({"_row", "_group", "_part", "_row_hash", "_cluster"})
#: Names of the columns that are added to rows that were answered: the id in front, and `problem` where rows of JSON have one.
ID, PROBLEM = "prediction_id", "problem"
ANSWERS = ("verdict", "reason", "unknown", "look_at", "novelty_p", "unseen", "outside", "prediction", "probability")
#: Those that every table of answers has.
SCORES = frozenset({"prediction", "probability", "reason"})
#: A table's own column of such a name has another one in answered rows, see `DatasetSchema.own_names`.
ANSWER_COLUMNS = frozenset({ID, PROBLEM, *ANSWERS})


def set_apart(names: Collection[str], added: Collection[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Those of a table's columns that have the name of an added one -> names that no other has: `reason_` for `reason`, or `reason__`.

    Args:
        names: the table's columns.
        added: the columns that are added.
        taken: further names that none may get.
    """
    renamed: dict[str, str] = {}
    for name in names:
        if name in added:
            free = f"{name}_"
            while free in names or free in taken or free in renamed.values():
                free += "_"
            renamed[name] = free
    return renamed


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day_number(value: date | str) -> float:
    """The day number of a date, or of an ISO 8601 text.

    Raises:
        ValueError: the text is no date.
    """
    moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) / timedelta(days=1)


def code_text(value: object) -> str:
    """A code as text, in one form however it was written: 1, 1.0 and "1.0" are "1", true is "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return re.sub(r"^([+-]?[0-9]+)\.0+$", r"\1", text)


def _codes(values: object) -> object:
    """The keys of a mapping, or the items of a list, as codes."""
    if isinstance(values, Mapping):
        return {code_text(code) if isinstance(code, int | float) else code: word for code, word in values.items()}
    return [code_text(code) if isinstance(code, int | float) else code for code in values] if isinstance(values, list) else values


def _limit(value: object) -> object:
    """The day number of a date; anything else as it is."""
    if isinstance(value, date) or (isinstance(value, str) and re.match(r"[0-9]{4}-", value)):
        return day_number(value)
    return value


Codes = BeforeValidator(_codes)
Limit = BeforeValidator(_limit)
Code = BeforeValidator(lambda value: code_text(value) if isinstance(value, int | float) else value)


def _undeclared_markers(values: Mapping[str, str]) -> tuple[str, ...]:
    """What stands for a missing value in a column with these codes and words; none of them does."""
    taken = {text.lower() for pair in values.items() for text in pair}
    return tuple(text for text in MISSING_TEXTS if text.lower() not in taken) if values else ()


class Frozen(BaseModel):
    """Base of every value object read from the configuration: immutable; unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Kind(StrEnum):
    """How a column's values are to be read."""

    NUMERIC = "numeric"
    NOMINAL = "nominal"
    DATE = "date"


class Column(Frozen):
    """One feature of the table."""

    kind: Kind
    unit: str | None = Field(None, description="Unit of a numeric column, for people: cm, mm, ...")
    description: str | None = Field(None, description="One line on what the column says.")
    values: Annotated[dict[str, str] | None, Codes] = Field(
        None, description="Nominal: code -> word. Any other value is rejected. Left out: every value is accepted."
    )
    min: Annotated[FiniteFloat | None, Limit] = Field(None, description="Smallest allowed number or date, inclusive.")
    max: Annotated[FiniteFloat | None, Limit] = Field(None, description="Largest allowed number or date, inclusive.")
    required: bool = Field(False, description="Whether a row without this value is rejected.")
    missing: tuple[str, ...] = Field((), description="Texts that stand for a missing value in this column, as '?' or '-999'.")
    decimal: Literal[".", ","] = Field(".", description="Numeric: the decimal sign of numbers that are text.")
    thousands: Literal["", ",", ".", " ", "'"] = Field("", description="Numeric: the sign between thousands; left out: none.")
    minus: Literal["-", "\u2212", "()"] = Field("-", description="Numeric: the sign of negative numbers, or () for 5 below zero as (5).")
    empty: Literal["informative", "not_observed"] = Field(
        "informative", description="What an empty cell of the table means: a value of its own, or that nobody looked."
    )
    cost: float = Field(1.0, gt=0, allow_inf_nan=False, description="What it costs to observe, beside the other columns.")
    error_rate: float = Field(
        0.0, ge=0, lt=0.5, description="Share of values that are misread (numeric: by how many standard deviations of the column)."
    )
    confusions: tuple[tuple[str, ...], ...] = Field((), description="Nominal: codes that are confused with each other, in sets.")
    strip: tuple[str, ...] = Field((), description="Numeric: texts that are taken out of the number, as '%', 'EUR' or ' months'.")
    format: str | None = Field(
        None, description="Date: how it is written, as '%d.%m.%Y' or '%m/%d/%Y %H:%M'; left out: ISO 8601 (2024-03-05), which always does."
    )
    since: str | None = Field(
        None, description="Date: counted in days since this one, a date or another date column; left out: the date itself, and its parts."
    )

    @model_validator(mode="after")
    def _confusions_fit(self) -> Self:
        if self.is_number and self.confusions:
            raise ValueError(f"a {self.kind} column has no 'confusions'; give 'error_rate'")
        for pair in self.confusions:
            if len(set(pair)) < 2:
                raise ValueError(f"confusions {list(pair)}: expected two different codes or more")
            if self.values is not None and (wrong := next((code for code in pair if code not in self.values), None)) is not None:
                raise ValueError(f"confusions {list(pair)}: no code {wrong!r}; it has: {', '.join(self.values)}")
        if self.confusions and not self.error_rate:
            raise ValueError("'confusions' need an 'error_rate' above 0: how often a value is misread")
        return self

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if self.is_number and self.values is not None:
            raise ValueError(f"a {self.kind} column has no 'values'; give 'min' and 'max', or make it nominal")
        if self.kind is not Kind.DATE and (self.format is not None or self.since is not None):
            raise ValueError("'format' and 'since' are of date columns; make it a date, or leave them out")
        if self.format is not None and not re.search("%[yYFcsD]", self.format):
            raise ValueError(f"format {self.format!r} has no year; expected one such as '%d.%m.%Y'")
        if self.kind is Kind.NOMINAL and (self.min is not None or self.max is not None):
            raise ValueError("a nominal column has no 'min' or 'max'; give 'values', or make it numeric")
        if self.values is not None and not self.values:
            raise ValueError("'values' is empty; list the allowed codes, or leave it out to accept every value")
        _check_codes(self.values or {})
        if self.kind is not Kind.NUMERIC and self.is_formatted:
            raise ValueError("'decimal', 'thousands', 'minus' and 'strip' are of numeric columns; make it numeric, or leave them out")
        if self.decimal == self.thousands:
            raise ValueError(f"'decimal' and 'thousands' are both {self.decimal!r}; a number could not be read")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    @property
    def is_number(self) -> bool:
        """Whether its values are kept as numbers; those of a date are days."""
        return self.kind is not Kind.NOMINAL

    @property
    def is_formatted(self) -> bool:
        """Whether its numbers are written in a way of their own."""
        return self.decimal != "." or self.minus != "-" or bool(self.thousands) or bool(self.strip)


def _check_codes(values: Mapping[str, str]) -> None:
    if "" in values:
        raise ValueError("'values' holds an empty code; an empty field is a missing value")
    for code in values:
        if code != code.strip():
            raise ValueError(f"'values' holds {code!r}; blanks around a value are trimmed before it is looked up")


class Target(Frozen):
    """The column to predict. Two classes; the positive one is the one that must not be missed."""

    column: str
    positive: Annotated[str, Code] = Field(description="Code of the positive class, the one that must not be missed.")
    values: Annotated[
        dict[str, str], Field(description="Class codes -> words. Several codes with one word are one class.", min_length=2, max_length=2)
    ]
    aliases: dict[str, str] = Field(default_factory=dict, description="Further codes -> the class code in 'values' that they stand for.")
    missing: tuple[str, ...] = Field((), description="Texts that stand for a row without a label.")

    @model_validator(mode="before")
    @classmethod
    def _one_code_a_class(cls, raw: Any) -> Any:
        """Several codes with one word: one of them stays, the positive one where it is among them; the others are its aliases."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("values"), Mapping):
            return raw
        values: dict[Any, Any] = {code_text(code) if isinstance(code, int | float) else code: word for code, word in raw["values"].items()}
        words = list(values.values())
        if len(values) <= 2 or not all(isinstance(word, str) for word in words) or len(set(words)) != 2:
            return {**raw, "values": values}
        positive = raw.get("positive")
        positive = code_text(positive) if isinstance(positive, int | float) else positive
        first = {word: next(code for code, other in values.items() if other == word) for word in dict.fromkeys(words)}
        if positive in values:
            first[values[positive]] = positive
        aliases = {code: first[word] for code, word in values.items() if code != first[word]}
        return {**raw, "values": {code: word for word, code in first.items()}, "aliases": {**raw.get("aliases", {}), **aliases}}

    @model_validator(mode="after")
    def _positive_is_a_value(self) -> Self:
        _check_codes(self.values)
        if self.positive not in self.values:
            raise ValueError(f"positive {self.positive!r} is not one of the values {sorted(self.values)}")
        if len(set(self.values.values())) < len(self.values):
            raise ValueError(f"both classes have the word {next(iter(self.values.values()))!r}; an answer could not be told from the other")
        if wrong := next((code for code in self.aliases.values() if code not in self.values), None):
            raise ValueError(f"'aliases' names the class {wrong!r}, which is not one of the values {sorted(self.values)}")
        if "unknown" in self.values.values():
            raise ValueError("'unknown' is the answer for rows the model does not know; give the class another word")
        return self

    @cached_property
    def negative(self) -> str:
        """Code of the other class."""
        return next(code for code in self.values if code != self.positive)


class Groups(Frozen):
    """How rows belong together (one species, one patient, one device), so that a whole group can be held out."""

    name: str = Field("group", description="What a group is, in the user's words: species, patient, ...")
    block_rows: int | None = Field(None, ge=1, description="Rows come in consecutive blocks of this many, one block a group.")
    column: str | None = Field(None, description="Or: the column that names the group. It is not a feature.")
    missing: Literal["reject", "own"] = Field("reject", description="A row without a group: rejected, or a group of its own.")
    names_file: str | None = Field(None, description="Table with one row a group, in block order: names for reports.")
    name_column: str = "name"
    family_column: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.block_rows is None) == (self.column is None):
            raise ValueError("give exactly one of 'block_rows' and 'column'")
        return self


class Condition(Frozen):
    """What a value must be for a contradiction to hold. A missing value fulfils no condition."""

    one_of: Annotated[tuple[str, ...] | None, Codes] = Field(None, min_length=1, description="Nominal: one of these codes.")
    none_of: Annotated[tuple[str, ...] | None, Codes] = Field(None, min_length=1, description="Nominal: any value but these codes.")
    above: Annotated[FiniteFloat | None, Limit] = Field(None, description="Number or date: larger than this.")
    below: Annotated[FiniteFloat | None, Limit] = Field(None, description="Number or date: smaller than this.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for value in (self.one_of, self.none_of, self.above, self.below)):
            raise ValueError("expected one_of or none_of for a nominal column, above or below for a numeric one")
        return self

    @property
    def kind(self) -> Kind | None:
        """The kind of column it is about; None if it mixes both."""
        nominal, numeric = (self.one_of or self.none_of) is not None, not (self.above is None and self.below is None)
        return None if nominal and numeric else Kind.NOMINAL if nominal else Kind.NUMERIC

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes it names."""
        return (*(self.one_of or ()), *(self.none_of or ()))


class Contradiction(Frozen):
    """Values of several columns that cannot be true together. A row that holds them is answered with `unknown`."""

    says: str = Field(min_length=1, description="The contradiction in words, for the answer: 'no ring, but a type of ring'.")
    when: dict[str, Condition] = Field(min_length=2, description="Column -> condition; the row contradicts itself where all hold.")


class DatasetSchema(Frozen):
    """The contract of one table.

    >>> from sporeprint import load_settings
    >>> schema = load_settings(CONFIG).dataset
    >>> schema.numeric
    ('cap-diameter', 'stem-height', 'stem-width')
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Lower case; names files and models.")
    target: Target
    columns: dict[str, Column] = Field(min_length=1, description="The features, in order.")
    groups: Groups | None = None
    cluster: str | None = Field(
        None, description="Column whose rows belong together (patient): promises count each of its values once. It is no feature."
    )
    contradictions: tuple[Contradiction, ...] = Field((), description="What no row can be, over several columns.")
    extra_columns: Literal["reject", "ignore"] = Field("reject", description="What a column not named here does to the run.")
    missing: tuple[str, ...] = Field(
        (),
        description="Texts that stand for a missing value in every column, as '?'. NA, NaN, null and None always do in numeric "
        "columns, and in nominal ones whose declared values do not have them.",
    )
    further: tuple[str, ...] = Field((), description="Columns that are neither feature nor target nor group, and are read along.")

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        names = [*self.columns, self.target.column]
        if self.groups is not None and self.groups.column is not None:
            names.append(self.groups.column)
        if self.cluster is not None and (self.groups is None or self.cluster != self.groups.column):
            names.append(self.cluster)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is declared twice among features, target, group and cluster column")
        if taken := sorted(RESERVED.intersection(names)):
            raise ValueError(f"the column name {taken[0]!r} is reserved (reserved: {', '.join(sorted(RESERVED))})")
        folded: dict[str, str] = {}
        for name in self.columns:
            other = folded.setdefault(name.replace("-", "_"), name)
            if other != name:
                raise ValueError(f"{other!r} and {name!r} differ only in '-' and '_', which requests may interchange")
        return self

    @model_validator(mode="after")
    def _dates_fit(self) -> Self:
        for name, column in self.columns.items():
            since = column.since
            if since is None or re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*", since):
                if since is not None:
                    day_number(since)
                continue
            other = self.columns.get(since)
            if other is None or other.kind is not Kind.DATE or other.since is not None or since == name:
                dates = [each for each, one in self.columns.items() if one.kind is Kind.DATE and one.since is None and each != name]
                allowed = f"; date columns: {', '.join(dates)}" if dates else ""
                raise ValueError(f"columns.{name}.since: {since!r} is neither a date such as 2024-01-01 nor another date column{allowed}")
        return self

    @model_validator(mode="after")
    def _contradictions_fit(self) -> Self:
        for item in self.contradictions:
            for name, condition in item.when.items():
                where = f"contradiction {item.says!r}: column {name!r}"
                column = self.columns.get(name)
                if column is None:
                    raise ValueError(f"{where} is not one of the columns{nearest(name, self.columns)}")
                if condition.kind is not (Kind.NUMERIC if column.is_number else Kind.NOMINAL):
                    raise ValueError(
                        f"{where} is {column.kind}; {'above and below' if column.is_number else 'one_of and none_of'} go with it"
                    )
                if column.values is not None and (wrong := next((code for code in condition.codes if code not in column.values), None)):
                    raise ValueError(f"{where} has no code {wrong!r}; it has: {', '.join(column.values)}")
        return self

    @cached_property
    def numeric(self) -> tuple[str, ...]:
        """Names of the features that are kept as numbers, dates among them, in order."""
        return tuple(name for name, column in self.columns.items() if column.is_number)

    @cached_property
    def nominal(self) -> tuple[str, ...]:
        """Names of the nominal features, in order."""
        return tuple(name for name, column in self.columns.items() if column.kind is Kind.NOMINAL)

    @cached_property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """The codes of the target, the negative class first, and of every nominal feature that declares its values.

        Without columns in which a code stands for a missing value.
        """
        target = self.target
        codes: dict[str, tuple[str, ...]] = {target.column: (target.negative, target.positive)}
        codes |= {name: tuple(values) for name in self.nominal if (values := self.columns[name].values)}
        return {name: values for name, values in codes.items() if not set(values).intersection(self.missing_words(name))}

    @cached_property
    def informative(self) -> frozenset[str]:
        """Columns whose empty cell is a value of its own; in the others nobody looked."""
        return frozenset(name for name, column in self.columns.items() if column.empty == "informative")

    @property
    def table_columns(self) -> tuple[str, ...]:
        """Every column the table must have: target, group and cluster column if declared, features."""
        group = (self.groups.column,) if self.groups is not None and self.groups.column is not None else ()
        cluster = () if self.cluster is None else (self.cluster,)
        return tuple(dict.fromkeys((self.target.column, *group, *cluster, *self.further, *self.columns)))

    @cached_property
    def own_names(self) -> dict[str, str]:
        """The table's columns that are named as one that is added to answered rows -> their names there: `reason_` for `reason`.

        This is the whole rule. In answered rows the table's own column has this name, always, and the plain name is the answer. Where
        there is no column of this name, nothing was answered, and the plain name is the table's own. Of `reason` and `reason_` in one
        table the first becomes `reason__`.
        """
        return set_apart(self.table_columns, ANSWER_COLUMNS)

    @cached_property
    def answered(self) -> "DatasetSchema":
        """The contract of answered rows: columns by their names there. For nearly every table it is the contract itself."""
        if not self.own_names:
            return self

        def own(name: str) -> str:
            return self.own_names.get(name, name)

        changed: dict[str, Any] = {
            "target": self.target.model_copy(update={"column": own(self.target.column)}),
            "columns": {
                own(name): column.model_copy(update={"since": own(column.since)}) if column.since else column
                for name, column in self.columns.items()
            },
            "groups": self.groups and self.groups.model_copy(update={"column": self.groups.column and own(self.groups.column)}),
            "cluster": self.cluster and own(self.cluster),
            "further": tuple(map(own, self.further)),
            "contradictions": tuple(
                item.model_copy(update={"when": {own(name): condition for name, condition in item.when.items()}})
                for item in self.contradictions
            ),
        }
        return self.changed(**changed)

    def changed(self, **fields: Any) -> "DatasetSchema":
        """The contract with other values of some fields, unchecked. Unlike a copy, it takes over nothing that was computed of this one."""
        return type(self).model_construct(**{**{name: getattr(self, name) for name in type(self).model_fields}, **fields})

    def as_answered(self, names: Collection[str]) -> dict[str, str]:
        """What is to be renamed, of a table with these columns, so that its own ones have the names that they have in answered rows."""
        return {name: own for name, own in self.own_names.items() if name in names and own not in names}

    def as_table(self, names: Collection[str]) -> dict[str, str]:
        """What is to be renamed, of a table with these columns that may be answered, so that its own ones have the contract's names."""
        there = {own: name for name, own in self.own_names.items() if own in names}
        return there | {name: own for own, name in there.items() if name in names}

    def beside(self, names: Sequence[str], added: Collection[str]) -> dict[str, str]:
        """What is to be renamed, of a table with these columns, so that others can be added to it: `reason_` for `reason`."""
        own = self.own_names
        others = [name for name in names if name not in own]
        renamed = own | set_apart(others, {*added, *own.values()}, {*names, *added, *own.values()})
        return {name: renamed[name] for name in names if name in renamed}

    def missing_words(self, name: str) -> tuple[str, ...]:
        """Texts that stand for a missing value in a column; of the target: for a row without a label."""
        if name == self.target.column:
            return (*self.missing, *self.target.missing)
        column = self.columns[name]
        return (*self.missing, *column.missing, *_undeclared_markers(column.values or {}))

    def word(self, column: str, code: str) -> str:
        """The word for a nominal code ('brown' for 'n'), or the code where no word is declared."""
        values = self.columns[column].values
        return (values or {}).get(code, code)

    def fingerprint(self) -> str:
        """sha256 of the contract (hex), the same for equal schemas whatever the order of keys in the file."""
        raw = self.model_dump(mode="json", exclude={"further"})
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()

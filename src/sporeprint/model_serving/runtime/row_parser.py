"""What a request says: a body to a row in the contract's names and codes, by look-ups that are made once for a model.

What the look-ups do not know is read by the slower rules of `answer.parse_row`, which also says what is wrong: so there is one
definition of what is understood.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson

from sporeprint.common.dates import date_text
from sporeprint.errors import DataError
from sporeprint.inference.predictor import parse_row
from sporeprint.model_serving.http.problems import HttpProblemError, not_json, not_valid, too_much
from sporeprint.model_serving.runtime.uploads import RowFormat
from sporeprint.schema import DatasetSchema, Kind

Value = str | float | None
Row = dict[str, Value]

#: Longest text that a field can be: what is longer is no value of a column.
MOST_CHARACTERS = 256
#: Where several rows go.
MANY = ", which POST /predict/batch takes"


@dataclass(frozen=True)
class FieldParser:
    """One column, for a look-up.

    Attributes:
        name: the contract's.
        values: nominal: code or word -> code; None for a numeric column.
        low: numeric: smallest allowed value.
        high: numeric: largest allowed value.
    """

    name: str
    values: Mapping[str, str] | None
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class RowParser:
    """Reads rows of one contract.

    Attributes:
        schema: the contract.
        fields: name, with hyphens or with underscores -> the column.
        required: columns that a row must have.
    """

    schema: DatasetSchema
    fields: Mapping[str, FieldParser]
    required: frozenset[str]

    @classmethod
    def of(cls, schema: DatasetSchema) -> Self:
        """The reader of a contract."""
        fields = {}
        for name in schema.columns:
            field = _field(name, schema)
            fields[name] = fields[name.replace("-", "_")] = field
        return cls(schema, fields, frozenset(name for name, column in schema.columns.items() if column.required))

    def read(self, body: bytes) -> Row:
        """Read a body that is one row.

        Raises:
            HttpProblemError: if it is no JSON object, or a field cannot be understood.
        """
        values = parse_json(body)
        if not isinstance(values, dict):
            hint = MANY if isinstance(values, list) else ""
            raise HttpProblemError(not_json(f"expected a JSON object of features, as in {self.example()}; got {_kind(values)}{hint}"))
        return self.row(values)

    def row(self, values: dict[str, Any]) -> Row:
        """A row in the contract's names and codes.

        Args:
            values: JSON values by field.

        Raises:
            HttpProblemError: naming every field that cannot be understood.
        """
        row: Row = {}
        fields = self.fields
        for key, value in values.items():
            field = fields.get(key)
            if field is None:
                return self._parse_slowly(values)
            if value is None:
                row[field.name] = None
            elif field.values is None:
                # The exact types: true is no number.
                if (type(value) is not float and type(value) is not int) or not field.low <= value <= field.high:
                    return self._parse_slowly(values)
                row[field.name] = float(value)
            else:
                code = field.values.get(value) if type(value) is str else None
                if code is None:
                    return self._parse_slowly(values)
                row[field.name] = code
        # Fewer than were given: one was given in both spellings.
        if len(row) < len(values) or any(row.get(name) is None for name in self.required):
            return self._parse_slowly(values)
        return row

    def _parse_slowly(self, values: dict[str, Any]) -> Row:
        most = 2 * len(self.schema.columns)
        if len(values) > most:
            raise HttpProblemError(not_valid(f"{len(values):,} fields are given, there are {len(self.schema.columns)}"))
        for key, value in values.items():
            if isinstance(value, list | dict):
                raise HttpProblemError(not_valid(f"field {key[:40]!r}: expected one value, a text or a number; got {_kind(value)}"))
            if len(key) > MOST_CHARACTERS or (isinstance(value, str) and len(value) > MOST_CHARACTERS):
                raise HttpProblemError(not_valid(f"field {key[:40]!r}: name or value is longer than {MOST_CHARACTERS} characters"))
        try:
            return parse_row(values, self.schema)
        except DataError as error:
            raise HttpProblemError(not_valid(str(error))) from None
        except OverflowError:
            raise HttpProblemError(not_valid("a number is larger than any that can be computed with")) from None

    def example(self) -> str:
        """A row that can be sent as it is."""
        return orjson.dumps(example(self.schema)).decode()


def _field(name: str, schema: DatasetSchema) -> FieldParser:
    column = schema.columns[name]
    if column.is_number:
        # A date, or a number that may stand for a missing value: read by the slower rules.
        if column.kind is Kind.DATE or schema.missing_words(name):
            return FieldParser(name, None, math.inf, -math.inf)
        largest = 1.7976931348623157e308
        return FieldParser(name, None, -largest if column.min is None else column.min, largest if column.max is None else column.max)
    codes = {word: code for code, word in (column.values or {}).items()}
    # As in `parse_row`: a code wins over a word, a word in lower case over one that is not.
    words = {word: codes.get(word.lower(), code) for word, code in codes.items() if word and word == word.strip()}
    return FieldParser(name, {**words, **{code: code for code in column.values or {}}})


def parse_json(body: bytes) -> Any:
    """Read JSON strictly: no NaN, no key given twice.

    Raises:
        HttpProblemError: if it is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpProblemError(not_json(f"the body is not valid JSON: {error}")) from None
    # Every pair brings a colon: where there are no more of them than pairs, no key was given twice.
    if body.count(b":") != _pairs(value):
        _no_key_twice(body)
    return value


def _pairs(value: Any) -> int:
    """Pairs of an object, and of the objects in lists below it; fewer than there are where it is deeper."""
    if isinstance(value, dict):
        rows = value.get("rows")
        return len(value) + (_pairs(rows) if isinstance(rows, list) else 0)
    if isinstance(value, list):
        return sum(len(row) for row in value if isinstance(row, dict))
    return 0


def _no_key_twice(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_unique)
    except RecursionError:
        raise HttpProblemError(not_json("the body is nested too deeply")) from None
    except ValueError as error:
        raise HttpProblemError(not_json(f"the body is not valid JSON: {error}")) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        raise HttpProblemError(not_json(f"field {twice[:40]!r} is given twice"))
    return fields


#: Most bytes that a value of JSON takes in memory, beside its own characters: an object with one field, in a list.
VALUE_BYTES = 256


def check_values(body: bytes, limit: int) -> None:
    """Count the values of a JSON body before it is read: three bytes may become an object of 64.

    Raises:
        HttpProblemError: if they may take more than so many bytes of memory.
    """
    values = body.count(b",") + body.count(b"[") + body.count(b"{") + body.count(b"\n")
    if values * VALUE_BYTES > limit:
        raise HttpProblemError(too_much(f"the body has up to {values:,} values, at most {limit // VALUE_BYTES:,} may be"))


#: Keys under which clients send a list of rows.
LISTS = ("rows", "instances", "dataframe_records")


def rows_of(body: bytes, form: RowFormat) -> list[Any]:
    """The rows of a JSON body: a list, an object that holds it as other tools send it, or one row a line.

    Raises:
        HttpProblemError: if it is none of these.
    """
    if form is RowFormat.NDJSON:
        return [parse_json(line) for line in body.splitlines() if line.strip()]
    body_value = parse_json(body)
    if isinstance(body_value, dict) and set(body_value) == {"dataframe_split"}:
        body_value = body_value["dataframe_split"]
    if isinstance(body_value, dict) and {"columns", "data"} <= set(body_value) <= {
        "columns",
        "data",
        "index",
        "index_names",
        "column_names",
    }:
        return _split_rows(body_value["columns"], body_value["data"])
    if isinstance(body_value, dict) and len(body_value) == 1 and next(iter(body_value)) in LISTS:
        body_value = next(iter(body_value.values()))
    if not isinstance(body_value, list):
        expected = 'expected a JSON list of rows, {"rows": [...]}, or the columns and data of a data frame (orient="split")'
        raise HttpProblemError(not_json(f"{expected}; got {_kind(body_value)}"))
    return body_value


def _split_rows(columns: Any, data: Any) -> list[Any]:
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
        raise HttpProblemError(not_json("'columns': expected a list of names, none of them twice"))
    if not isinstance(data, list):
        raise HttpProblemError(not_json(f"'data': expected a list of rows, got {_kind(data)}"))
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise HttpProblemError(not_json(f"row {number} of 'data': expected a list of {len(columns)} values, one for each column"))
    return [dict(zip(columns, row, strict=True)) for row in data]


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with the fields {', '.join(map(str, value))}"[:200] if value else "an empty object"
    names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(type(value), "something else")


def example(schema: DatasetSchema) -> dict[str, Any]:
    """A row of a contract: of every nominal column the first declared value, as a word where it is one; of every number a small one."""
    row: dict[str, Any] = {}
    for name, column in schema.columns.items():
        if column.kind is Kind.DATE:
            row[name] = date_text(column.min if column.min is not None and column.since is None else 19_787.0)
        elif column.is_number:
            low, high = column.min if column.min is not None else 0.0, column.max if column.max is not None else 100.0
            row[name] = round(low + (high - low) / 20, 3)
        elif column.values:
            code, word = next(iter(column.values.items()))
            row[name] = word if column.values.get(word, code) == code else code
    return row

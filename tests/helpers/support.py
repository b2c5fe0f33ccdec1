"""Small tables, by hand and at random, for the tests of what computes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.splitting import row_hashes
from sporeprint.models.encoder_fit import fit_encoder
from sporeprint.safety.decision_rule import DecisionRule, fit_decision_rule, fit_guard
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings, NominalTransform, NumericTransform

NUMERIC: dict[str, Any] = {"kind": "numeric"}
OPEN: dict[str, Any] = {"kind": "nominal"}


def nominal(*values: str, **more: Any) -> dict[str, Any]:
    """A nominal column with these codes, each its own word."""
    return {"kind": "nominal", "values": {value: value for value in values}, **more}


def dataset(columns: dict[str, dict[str, Any]], *, groups: dict[str, Any] | None = None) -> DatasetSchema:
    """A contract with these features, and the target `class` with the words edible (e) and poisonous (p, positive)."""
    target = {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}}
    return DatasetSchema.model_validate({"name": "table", "target": target, "columns": columns, "groups": groups})


def codes(columns: dict[str, list[Any]], schema: DatasetSchema) -> Codes:
    """Values as codes, in the contract's vocabulary."""
    types = {name: pl.Float64 if name in schema.numeric else pl.String for name in columns}
    return Codes.of(pl.DataFrame(columns, schema=types), schema)


def labels(*values: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.array(values, dtype=np.int8)


@dataclass(frozen=True)
class Labelled:
    """A random table: n coded rows with their labels, int8 [n]."""

    schema: DatasetSchema
    codes: Codes
    y: np.ndarray[Any, np.dtype[np.int8]]


#: Values that a CSV file, JSON or a feature's name could stumble over.
WORDS = st.text("ab:=,;\"'\\\n ßé0", min_size=1, max_size=3).filter(lambda word: word == word.strip())


@st.composite
def tables(draw: st.DrawFn, *, least: int = 1, most: int = 20, unknown: bool = True) -> Labelled:
    """A random contract and random rows of it, missing values among them and, if asked for, unknown ones."""
    rows = draw(st.integers(least, most))
    columns: dict[str, dict[str, Any]] = {}
    vocabulary, categories, numbers = {}, {}, {}
    for number in range(draw(st.integers(1, 4))):
        name = f"column-{number}"
        if draw(st.booleans()):
            columns[name] = NUMERIC
            value = st.one_of(st.just(float("nan")), st.integers(-(10**8), 10**8).map(lambda number: number / 100))
            numbers[name] = np.array(draw(st.lists(value, min_size=rows, max_size=rows)), dtype=np.float64)
        else:
            vocabulary[name] = tuple(draw(st.lists(WORDS, min_size=1, max_size=5, unique=True)))
            columns[name] = OPEN if draw(st.booleans()) else nominal(*vocabulary[name])
            value_code = st.integers(-1 if unknown else 0, len(vocabulary[name]))
            categories[name] = np.array(draw(st.lists(value_code, min_size=rows, max_size=rows)), dtype=np.int16)
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)), dtype=np.int8)
    return Labelled(dataset(columns), Codes(vocabulary, categories, numbers, rows), y)


def observations(table: Labelled, *, group: bool = True, parts: int | None = None, first_row: int = 0) -> Observations:
    """A random table as a run knows it."""
    rows = np.arange(first_row, first_row + table.codes.rows)
    return Observations(
        codes=table.codes,
        y=table.y,
        row=rows,
        group=rows // 3 if group else None,
        row_hash=row_hashes(table.codes, seed=7),
        part=None if parts is None else (rows % parts).astype(np.int8),
    )


def texts(found: Codes) -> dict[str, list[str | float | None]]:
    """What the codes stand for, column by column: the values, `?` for unknown ones, None for missing ones."""
    words: dict[str, list[str | float | None]] = {}
    for name, values in found.nominal.items():
        known = ["?", None, *found.vocabulary[name]]
        words[name] = [known[value + 1] for value in values.tolist()]
    for name, numbers in found.numeric.items():
        words[name] = [None if np.isnan(number) else number for number in numbers.tolist()]
    return words


def same(left: Observations, right: Observations) -> bool:
    """Whether two tables say the same, whatever the order of their vocabularies."""
    arrays = ("y", "row", "group", "row_hash", "part")
    return texts(left.codes) == texts(right.codes) and all(_equal(getattr(left, name), getattr(right, name)) for name in arrays)


def _equal(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    return left.dtype == right.dtype and np.array_equal(left, right)


#: What `some_safety` has fitted, by the contract's fingerprint.
_FITTED: dict[str, DecisionRule] = {}


def some_safety(schema: DatasetSchema) -> DecisionRule:
    """A small guard, calibration and threshold for a contract, fitted on random rows of it, once. Only to be looked at."""
    if (key := schema.fingerprint()) not in _FITTED:
        _FITTED[key] = _fitted_safety(schema, rows=120)
    return _FITTED[key]


def _fitted_safety(schema: DatasetSchema, *, rows: int) -> DecisionRule:
    random = np.random.default_rng(3)
    vocabulary = {name: tuple(schema.columns[name].values or ("v0", "v1", "v2")) for name in schema.nominal}
    table = Codes(
        vocabulary,
        {name: random.integers(0, len(values) + 1, rows).astype(np.int16) for name, values in vocabulary.items()},
        {name: random.random(rows) for name in schema.numeric},
        rows,
    )
    y = (np.arange(rows) % 2).astype(np.int8)
    known, calibrate, test = (observations(Labelled(schema, table, y), group=False).take(np.arange(rows) % 3 == part) for part in range(3))
    chosen = GuardSettings(clusters=2)
    encoder = fit_encoder(
        known.codes, known.y, {name: NominalTransform() if name in schema.nominal else NumericTransform() for name in schema.columns}
    )
    guard = fit_guard(known, calibrate, schema, chosen, seed=1)
    return fit_decision_rule(lambda rows: np.linspace(0, 1, rows.rows), encoder, guard, calibrate, test, schema, chosen)

"""A table in compact form: nominal values as small integers, numbers as float64. What every computation starts from.

`coded` is written in Narwhals expressions, so that the same lines run on Polars (eager and lazy) and on PySpark.
`Codes` holds the result as NumPy arrays for what comes after: rules, encoders, row hashes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.errors import DataError
from sporeprint.schema import MISSING_NUMBERS, NUMBER, DatasetSchema

MISSING = 0
UNKNOWN = -1
#: What an int16 can count.
MOST_VALUES = 32_767
#: Largest number a matrix can hold, which is of float32.
LARGEST = float(np.finfo(np.float32).max)

Vocabulary = Mapping[str, tuple[str, ...]]
Int16 = npt.NDArray[np.int16]
Float64 = npt.NDArray[np.float64]


def coded(frame: Any, vocabulary: Vocabulary, numeric: Sequence[str], *, trim: Collection[str] = (), trusting: bool = False) -> Any:
    """Columns of a Narwhals frame as codes and numbers.

    Args:
        frame: Narwhals DataFrame or LazyFrame with the columns as text, or of their own types.
        vocabulary: the nominal columns, each with its values in code order; value i has code i + 1.
        numeric: the numeric columns.
        trim: text columns whose surrounding white space is to be cut off; what is empty then is missing.
        trusting: whether text in numeric columns is cast without a look at it, which is three times as fast. Text that is
            no number makes the engine raise, or, if it says so (`inf`), gives a number that is not finite.

    Returns:
        A frame of the same flavour with these columns only. Nominal: Int16, 0 missing, -1 not in the vocabulary.
        Numeric: Float64, null missing, NaN where the text is not a number.
    """
    types = frame.collect_schema()
    codes = [_nominal(name, types[name], values, trim=name in trim) for name, values in vocabulary.items()]
    numbers = [_numeric(name, types[name], trim=name in trim, trusting=trusting) for name in numeric]
    return frame.select(*codes, *numbers)


def _text(name: str, dtype: Any, *, trim: bool) -> Any:
    column = nw.col(name)
    if dtype != nw.String:
        column = column.cast(nw.String)
    if not trim:
        return column
    stripped = column.str.strip_chars()
    return nw.when(stripped != "").then(stripped)


def _nominal(name: str, dtype: Any, values: Sequence[str], *, trim: bool) -> Any:
    column = _text(name, dtype, trim=trim)
    expression = nw.lit(UNKNOWN)
    if values:
        expression = column.replace_strict(list(values), list(range(1, len(values) + 1)), default=UNKNOWN, return_dtype=nw.Int16)
    return nw.when(column.is_null()).then(nw.lit(MISSING)).otherwise(expression).cast(nw.Int16).alias(name)


def _numeric(name: str, dtype: Any, *, trim: bool, trusting: bool) -> Any:
    # Anything else (a date, true or false) is read as text, so that it does not pass as the number it is stored as.
    if dtype.is_numeric() or (trusting and dtype == nw.String):
        return nw.col(name).cast(nw.Float64)
    column = _text(name, dtype, trim=trim)
    column = nw.when(~column.str.to_lowercase().is_in(MISSING_NUMBERS)).then(column)
    number = column.str.contains(NUMBER)
    # The cast sees only text that is a number, so that a strict engine does not stop at the first other one.
    value = nw.when(number).then(column).cast(nw.Float64)
    return nw.when(column.is_null() | number).then(value).otherwise(nw.lit(float("nan"))).alias(name)


def coded_frame(frame: pl.DataFrame, vocabulary: Vocabulary, numeric: Sequence[str]) -> pl.DataFrame:
    """`coded` of a Polars frame, white space cut off where there is any.

    It is looked for only in columns where something was not recognised: it is rare, and cutting it off everywhere
    would cost more than all the rest. A column that `recognised` has coded is taken as it is.
    """
    known = [name for name, values in vocabulary.items() if frame.schema[name] == pl.Enum(values)]
    if known:
        codes = [(pl.col(name).to_physical().cast(pl.Int16) + 1).fill_null(MISSING) for name in known]
        others = coded_frame(frame.drop(known), {name: vocabulary[name] for name in vocabulary if name not in known}, numeric)
        return pl.concat([frame.select(codes), others], how="horizontal").select(*vocabulary, *numeric)
    table = nw.from_native(frame)
    try:
        compact: pl.DataFrame = coded(table, vocabulary, numeric, trusting=True).to_native()
    except nw.exceptions.InvalidOperationError:  # text that is no number: find it
        compact = coded(table, vocabulary, numeric).to_native()
    again = [name for name in numeric if compact[name].is_nan().any()]
    again += [name for name in vocabulary if compact[name].min() == UNKNOWN]
    return coded(table, vocabulary, numeric, trim=again).to_native() if again else compact


def recognised(frame: pl.DataFrame, vocabulary: Vocabulary) -> pl.DataFrame:
    """The frame with its texts as codes wherever all of a column's values are in the vocabulary.

    Such a column says the same, in a byte a row instead of sixteen: it is looked up once, and written as it is.
    """
    texts = [name for name, values in vocabulary.items() if values and frame.schema.get(name) == pl.String]
    enums = frame.select(pl.col(name).cast(pl.Enum(vocabulary[name]), strict=False) for name in texts)
    return frame.with_columns(column for column in enums if column.null_count() == frame[column.name].null_count())


def vocabulary_of(frame: pl.DataFrame, schema: DatasetSchema) -> dict[str, tuple[str, ...]]:
    """Every nominal feature's values: the declared ones, or, where none are declared, those in the frame, sorted.

    Raises:
        DataError: if there are more than codes, see `refuse_too_many`.
    """
    vocabulary: dict[str, tuple[str, ...]] = {}
    for name in schema.nominal:
        declared = schema.columns[name].values
        if declared is not None:
            vocabulary[name] = tuple(declared)
        else:
            # Stripped by the engine that strips the rows: Python counts more characters as white space.
            texts = frame[name].cast(pl.String).unique().drop_nulls().str.strip_chars()
            vocabulary[name] = tuple(sorted({*texts} - {""}))
            refuse_too_many(name, len(vocabulary[name]))
    return vocabulary


def refuse_too_many(name: str, values: int) -> None:
    """Refuse a nominal column with more values than there are codes.

    Raises:
        DataError: naming the column.
    """
    if values > MOST_VALUES:
        raise DataError(
            f"{name}: {values:,} different values or more, at most {MOST_VALUES:,} are allowed in a nominal column; "
            "if it identifies the row, take it out of dataset.columns and set dataset.extra_columns: ignore"
        )


@dataclass(frozen=True)
class Codes:
    """A compact table of n rows.

    Attributes:
        vocabulary: for every nominal feature its values in code order.
        nominal: int16 [n] for every nominal feature: 0 missing, -1 not in the vocabulary, i + 1 for value i.
        numeric: float64 [n] for every numeric feature: NaN where the value is missing (or was no number, see validate).
        rows: n.
    """

    vocabulary: Vocabulary
    nominal: Mapping[str, Int16]
    numeric: Mapping[str, Float64]
    rows: int

    @classmethod
    def of(cls, frame: pl.DataFrame, schema: DatasetSchema, vocabulary: Vocabulary | None = None) -> Self:
        """Code the features of a Polars frame. Without a vocabulary: the declared values, or those found."""
        vocabulary = vocabulary_of(frame, schema) if vocabulary is None else vocabulary
        return cls.of_coded(coded_frame(frame, vocabulary, schema.numeric), schema, vocabulary)

    @classmethod
    def of_coded(cls, compact: pl.DataFrame, schema: DatasetSchema, vocabulary: Vocabulary) -> Self:
        """Take the features of an already coded frame."""
        return cls(
            vocabulary={name: vocabulary[name] for name in schema.nominal},
            nominal={name: compact[name].to_numpy() for name in schema.nominal},
            numeric={name: compact[name].to_numpy() for name in schema.numeric},
            rows=compact.height,
        )

    def take(self, rows: npt.NDArray[Any] | slice) -> Self:
        """The rows at an index array, under a boolean mask or in a slice."""
        if isinstance(rows, slice):
            count = len(range(*rows.indices(self.rows)))
        else:
            count = int(rows.sum()) if rows.dtype == np.bool_ else len(rows)
        return type(self)(
            vocabulary=self.vocabulary,
            nominal={name: values[rows] for name, values in self.nominal.items()},
            numeric={name: values[rows] for name, values in self.numeric.items()},
            rows=count,
        )

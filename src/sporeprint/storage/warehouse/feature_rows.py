"""The features of recorded answers, taken out of their JSON: as columns of text, and as a hash that equal rows share."""

import hashlib
import json
from collections.abc import Sequence

import polars as pl

from sporeprint.data.written_values import normalised, words_as_codes
from sporeprint.schema import DatasetSchema, Kind

#: Between the values of a row whose hash is taken.
_SEPARATOR = "\x1f"


def feature_columns(texts: Sequence[str], schema: DatasetSchema) -> pl.DataFrame:
    """Requests taken apart, as text; dates as day numbers, and numbers that files write in a form of their own as numbers.

    They may name a column with underscores for hyphens, and a value by its word.

    Args:
        texts: the features of each answer, as a JSON object.
        schema: the contract.
    """
    others = {name: name.replace("-", "_") for name in schema.columns}
    names = list(dict.fromkeys([*schema.columns, *others.values()]))
    series = pl.Series(texts, dtype=pl.String)
    try:
        table = series.str.json_decode(pl.Struct(dict.fromkeys(names, pl.String))).struct.unnest()
    except pl.exceptions.ComputeError:  # a value that is neither text nor number
        table = pl.DataFrame([_plain(value, names) for value in texts], schema=dict.fromkeys(names, pl.String))
    columns = []
    for name, column in schema.columns.items():
        value = pl.coalesce(name, others[name]).str.strip_chars()
        value = pl.when(value != "").then(value)
        if column.kind is Kind.NOMINAL and column.values:
            words_of = {word: code for code, word in column.values.items() if word not in column.values}
            value = value.replace(words_of) if words_of else value
        columns.append(value.alias(name))
    plain = _numbers(table.select(columns), schema)
    dates = [name for name, column in schema.columns.items() if column.kind is Kind.DATE]
    if not dates:
        return plain
    # Recorded with the day number; by earlier releases, of batches, with the text they came with, which may be of digits alone.
    days = normalised(plain.select(dates), schema)
    return plain.with_columns(pl.coalesce(days[name].fill_nan(None), pl.col(name).cast(pl.Float64, strict=False)) for name in dates)


def _numbers(table: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    """Columns whose files write "1.299,50", as numbers: read by the schema once more, the point of a text would be one of thousands.

    They are recorded plain; by earlier releases, of batches, with the text they came with.
    """
    names = [name for name in schema.numeric if schema.columns[name].is_formatted]
    if not names:
        return table
    read = normalised(table.select(names), schema)
    return table.with_columns(
        pl.coalesce(pl.col(name).cast(pl.Float64, strict=False), read[name].cast(pl.Float64, strict=False)).alias(name) for name in names
    )


def _plain(raw: str, names: Sequence[str]) -> dict[str, str | None]:
    try:
        decoded = json.loads(raw)
    except ValueError:
        decoded = {}
    values = decoded if isinstance(decoded, dict) else {}
    return {name: value if (value := values.get(name)) is None or isinstance(value, str) else json.dumps(value) for name in names}


def row_hashes(texts: Sequence[str], schema: DatasetSchema) -> pl.Series:
    """A hash of each answer's cleaned row: 63 bits of BLAKE2b, so that equal rows of any request or file have the same.

    Values are read as the model reads them: codes for words, numbers by their value; a field that is empty and one that is missing are
    the same. Among n different rows some pair shares a hash with probability n² / 2⁶⁴.
    """
    table = words_as_codes(normalised(feature_columns(texts, schema), schema), schema)
    values = []
    for name, column in schema.columns.items():
        value = pl.col(name).cast(pl.String)
        if column.is_number:
            number = pl.col(name).cast(pl.Float64, strict=False)
            zero = pl.when(number == 0).then(0.0).otherwise(number)  # there are two
            value = pl.coalesce(zero.cast(pl.String), value)
        values.append(value.fill_null(""))
    rows = table.select(pl.concat_str(values, separator=_SEPARATOR)).to_series().to_list()
    hashes = [int.from_bytes(hashlib.blake2b(row.encode(), digest_size=8).digest(), "little") >> 1 for row in rows]
    return pl.Series("row_hash", hashes, dtype=pl.Int64)

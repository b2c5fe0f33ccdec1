"""From rows of the OLTP database to facts, and from facts to counts: pure functions over frames, the same for both warehouses.

What is counted here is what is added to the tables of counts: counting parts and adding up gives what counting the whole gives.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from sporeprint.common.timestamps import HOUR_US
from sporeprint.schema import DatasetSchema
from sporeprint.stats.bins import log_linear, unit
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.star_schema import CELL_NAMES, WAITING_US, ColumnType

#: Numbers of an answer that are counted like features; a feature of such a name is counted as `probability_`.
SHARES = ("probability", "novelty_p")
_TYPES = {ColumnType.INTEGER: pl.Int64, ColumnType.NUMBER: pl.Float64, ColumnType.NAME: pl.String, ColumnType.TEXT: pl.String}


def types(table: star_schema.StarTable) -> dict[str, type[pl.DataType]]:
    """The columns of a table, as Polars has them."""
    return {column.name: _TYPES[column.type] for column in table.columns}


def empty(table: star_schema.StarTable) -> pl.DataFrame:
    """A table without a row."""
    return pl.DataFrame(schema=types(table))


def frame(table: star_schema.StarTable, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of a table; what a row does not say is missing."""
    kinds = types(table)
    return pl.DataFrame([{name: row.get(name) for name in kinds} for row in rows], schema=kinds)


def predictions(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pl.DataFrame:
    """Facts of rows of the OLTP database, whose columns have these names."""
    facts = _columns(rows, names, star_schema.FACT_PREDICTION)
    hour = (pl.col("created_us") - pl.col("created_us") % HOUR_US).alias("hour_us")
    unhashed = pl.lit(None, dtype=pl.Int64).alias("row_hash")
    return facts.with_columns(hour, unhashed, pl.col("test_id", "arm").fill_null("")).select(star_schema.FACT_PREDICTION.names)


def outcomes(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pl.DataFrame:
    """Outcomes of rows of the OLTP database, without what they take over from their predictions."""
    return _columns(rows, names, star_schema.FACT_OUTCOME)


def _columns(rows: Sequence[Sequence[Any]], names: Sequence[str], table: star_schema.StarTable) -> pl.DataFrame:
    kinds = types(table)
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    return pl.DataFrame([pl.Series(name, column, dtype=kinds[name], strict=False) for name, column in zip(names, values, strict=True)])


# --- counts of predictions -----------------------------------------------------------------------------------------------


def answers(facts: pl.DataFrame) -> pl.DataFrame:
    """Rows of `hour_answers`."""
    taken = pl.col("latency_us")
    hourly = facts.group_by(*CELL_NAMES, "verdict").agg(
        pl.len().cast(pl.Int64).alias("answers"),
        taken.sum().alias("latency_sum_us"),
        taken.cast(pl.Float64).pow(2).sum().alias("latency_sum_us2"),
    )
    return hourly.select(star_schema.HOUR_ANSWERS.names)


def latency(facts: pl.DataFrame) -> pl.DataFrame:
    """Rows of `hour_latency`."""
    low, high = log_linear(facts["latency_us"].cast(pl.Float64).to_numpy())
    # Below sixteen microseconds a bin is narrower than one.
    low, high = np.floor(low), np.maximum(np.ceil(high), np.floor(low) + 1)
    binned = facts.select(*CELL_NAMES, low_us=pl.Series(low).cast(pl.Int64), high_us=pl.Series(high).cast(pl.Int64))
    counted = binned.group_by(*CELL_NAMES, "low_us", "high_us").agg(pl.len().cast(pl.Int64).alias("answers"))
    return counted.select(star_schema.HOUR_LATENCY.names)


def cells(facts: pl.DataFrame) -> pl.DataFrame:
    """Every hour, model and arm that occurs, with a number for it: `cell`."""
    return facts.select(CELL_NAMES).unique(maintain_order=True).with_row_index("cell")


def features(observed: pl.DataFrame, numbered: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    """Rows of `hour_features`: every feature of the contract.

    A nominal value is counted by its code, where the code or its word was given. What the contract or the training does not know is
    counted together, as unseen: it has no end. A number that is none is invalid. What was not observed is absent, what was recorded as
    empty is missing.

    Args:
        observed: columns of `feature_counts.GIVEN`; features by their place in the contract.
        numbered: see `cells`.
        schema: the contract.
    """
    names = list(schema.columns)
    table = observed.with_columns(
        pl.col("text").str.strip_chars(), is_number=pl.col("feature").is_in([names.index(name) for name in schema.numeric])
    )
    table = table.join(_known(schema), on=["feature", "text"], how="left", maintain_order="left")
    open_columns = [place for place, name in enumerate(names) if name in schema.nominal and schema.columns[name].values is None]
    own = pl.when(pl.col("feature").is_in(open_columns) & (pl.col("text").str.len_chars() <= star_schema.VALUE_LENGTH)).then(pl.col("text"))
    table = table.with_columns(
        value=pl.coalesce("code", own), number=pl.when("is_number").then(pl.col("text").cast(pl.Float64, strict=False))
    )
    table = table.with_columns(pl.when(pl.col("number").is_finite()).then(pl.col("number")).alias("number"), unseen=_unseen(table, names))
    low, high = log_linear(table["number"].fill_null(0.0).to_numpy())
    kind = (
        pl.when(~pl.col("there"))
        .then(pl.lit("absent"))
        .when(pl.col("text").is_null() | (pl.col("text") == ""))
        .then(pl.lit("missing"))
        .when(pl.col("is_number") & pl.col("number").is_null())
        .then(pl.lit("invalid"))
        .when("is_number")
        .then(pl.lit("number"))
        .when(pl.col("value").is_null() | pl.col("unseen"))
        .then(pl.lit("unseen"))
        .otherwise(pl.lit("value"))
    )
    table = table.with_columns(low=pl.Series(low), high=pl.Series(high), kind=kind)
    names_by_place = pl.DataFrame(
        {"feature": range(len(names)), "name": list(schema.answered.columns)}, schema={"feature": pl.Int64, "name": pl.String}
    )
    return _counted(table.join(names_by_place, on="feature").drop("feature").rename({"name": "feature"}), numbered)


def shares(facts: pl.DataFrame, numbered: pl.DataFrame) -> pl.DataFrame:
    """Further rows of `hour_features`: the numbers between 0 and 1 that an answer has."""
    cell = facts.select(CELL_NAMES).join(numbered, on=list(CELL_NAMES), how="left", maintain_order="left")["cell"]
    parts = []
    for name in SHARES:
        low, high = unit(facts[name].fill_null(0.0).to_numpy())
        kind = pl.when(pl.col("number").is_null()).then(pl.lit("missing")).otherwise(pl.lit("number"))
        part = pl.DataFrame({"cell": cell, "number": facts[name], "low": low, "high": high})
        parts.append(part.with_columns(kind=kind, feature=pl.lit(name), value=pl.lit(""), answers=pl.lit(1, dtype=pl.Int64)).drop("number"))
    return _counted(pl.concat(parts), numbered)


def _counted(table: pl.DataFrame, numbered: pl.DataFrame) -> pl.DataFrame:
    """Rows with `cell`, `feature`, `kind`, `value`, `low`, `high` and `answers` as rows of `hour_features`."""
    is_number = pl.col("kind") == "number"
    table = table.with_columns(
        value=pl.when(pl.col("kind") == "value").then(pl.col("value")).otherwise(pl.lit("")),
        low=pl.when(is_number).then(pl.col("low")).otherwise(0.0),
        high=pl.when(is_number).then(pl.col("high")).otherwise(0.0),
    )
    counted = table.group_by("cell", "feature", "kind", "value", "low", "high").agg(pl.col("answers").sum())
    return counted.join(numbered, on="cell", how="left").select(star_schema.HOUR_FEATURES.names)


def _known(schema: DatasetSchema) -> pl.DataFrame:
    """What the contract declares: `feature` (its place), `text` (a code or its word) and `code`. A code goes before a word."""
    rows = []
    for place, column in enumerate(schema.columns.values()):
        words = {word: code for code, word in (column.values or {}).items()} | {code: code for code in column.values or {}}
        rows += [(place, text, code) for text, code in words.items()]
    return pl.DataFrame(rows, schema={"feature": pl.Int64, "text": pl.String, "code": pl.String}, orient="row")


def _unseen(table: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """Whether the answer said of the feature that training did not know its value."""
    texts = table["unseen"].unique().to_list()
    listed = {text: set(json.loads(text)) for text in texts if text != "[]"}
    if not listed:
        return pl.repeat(value=False, n=table.height, eager=True, dtype=pl.Boolean)
    pairs = [(text, place) for text, columns in listed.items() for place, name in enumerate(names) if name in columns]
    known_pairs = pl.DataFrame(pairs, schema={"unseen": pl.String, "feature": pl.Int64}, orient="row").with_columns(
        is_unseen=pl.lit(value=True)
    )
    return (
        table.select("unseen", "feature")
        .join(known_pairs, on=["unseen", "feature"], how="left", maintain_order="left")["is_unseen"]
        .fill_null(value=False)
    )


# --- outcomes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutcomeUpdate:
    """What outcomes change.

    Attributes:
        outcomes: rows of `fact_outcome`, new or changed.
        counts: what is added to `hour_outcomes`; negative where a correction takes something away.
    """

    outcomes: pl.DataFrame
    counts: pl.DataFrame


def settle(before: pl.DataFrame, new: pl.DataFrame, predictions_before: pl.DataFrame) -> OutcomeUpdate:
    """Give outcomes their predictions, find the latest of each, and what that changes in the counts.

    An outcome whose prediction is not found waits for it.

    Args:
        before: every row of `fact_outcome` of the predictions concerned.
        new: further outcomes, see `outcomes`; rows that are there already change nothing.
        predictions_before: `prediction_id` and `star_schema.OF_PREDICTION` of the predictions that are there.
    """
    own = [name for name in star_schema.FACT_OUTCOME.names if name not in {*star_schema.OF_PREDICTION, "latest"}]
    every = pl.concat([before.select(own), new.select(own)]).unique(["prediction_id", "revision"], keep="first", maintain_order=True)
    every = every.join(
        predictions_before.select("prediction_id", *star_schema.OF_PREDICTION), on="prediction_id", how="left", maintain_order="left"
    )
    every = every.with_columns(
        pl.col("created_us", "hour_us").fill_null(WAITING_US),
        pl.col("version").fill_null(0),
        pl.col("model", "test_id", "arm", "verdict", "prediction").fill_null(""),
        (pl.col("revision") == pl.col("revision").max().over("prediction_id")).cast(pl.Int64).alias("latest"),
    ).select(star_schema.FACT_OUTCOME.names)
    changed = every.join(before, on=list(star_schema.FACT_OUTCOME.names), how="anti", nulls_equal=True, maintain_order="left")
    return OutcomeUpdate(changed, _difference(_count_outcomes(every), _count_outcomes(before)))


def _count_outcomes(rows: pl.DataFrame) -> pl.DataFrame:
    known = rows.filter((pl.col("latest") == 1) & (pl.col("hour_us") != WAITING_US))
    return known.group_by(star_schema.HOUR_OUTCOMES.key).agg(pl.len().cast(pl.Int64).alias("answers"))


def _difference(after: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    both = pl.concat([after, before.with_columns(-pl.col("answers"))])
    return both.group_by(star_schema.HOUR_OUTCOMES.key).agg(pl.col("answers").sum()).filter(pl.col("answers") != 0)


# --- dimensions ----------------------------------------------------------------------------------------------------------


def hours(facts: pl.DataFrame) -> pl.DataFrame:
    """Rows of `dim_time`."""
    return frame(star_schema.DIM_TIME, map(_hour, facts["hour_us"].unique().sort().to_list()))


def _hour(hour_us: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(hour_us // 1_000_000, UTC)
    named = {"year": at.year, "month": at.month, "day_of_month": at.day, "hour": at.hour, "weekday": at.isoweekday()}
    return {"hour_us": hour_us, "day": f"{at:%Y-%m-%d}", **named}


def models(facts: pl.DataFrame) -> pl.DataFrame:
    """Rows of `dim_model`: what is known from answers alone."""
    rows = facts.select("model", "version").unique().sort("model", "version").iter_rows()
    return frame(star_schema.DIM_MODEL, ({"model": model, "version": version, "ref": f"{model}/v{version}"} for model, version in rows))


def verdicts(schema: DatasetSchema) -> pl.DataFrame:
    """Rows of `dim_verdict`."""
    words = schema.target.values
    kinds = {words[schema.target.positive]: "positive", words[schema.target.negative]: "negative", "unknown": "unknown"}
    return frame(star_schema.DIM_VERDICT, ({"verdict": verdict, "kind": kind} for verdict, kind in kinds.items()))


def classes(schema: DatasetSchema) -> pl.DataFrame:
    """Rows of `dim_class`."""
    target = schema.target
    return frame(
        star_schema.DIM_CLASS,
        ({"code": code, "word": word, "positive": int(code == target.positive)} for code, word in target.values.items()),
    )


def add_up(table: star_schema.StarTable, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Counts of several parts as one, without the rows where nothing is left."""
    sums = pl.concat(parts).group_by(table.key).agg(pl.col(table.counts).sum()).filter(pl.col(table.counts[0]) != 0)
    return sums.select(table.names).sort(table.key)

"""From the artefact of a batch to facts: by column, without a value of Python for each row."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import polars as pl

from sporeprint.common.timestamps import HOUR_US
from sporeprint.data.written_values import normalised
from sporeprint.schema import ID, DatasetSchema
from sporeprint.storage.oltp.batch_file import BatchInfo, frames, input_columns
from sporeprint.storage.oltp.batch_index import share
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.feature_counts import GIVEN
from sporeprint.storage.warehouse.star_schema import CELL_NAMES

#: Counts what was given in facts, whose cells have these numbers: see `given.Features.count`.
Count = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]


def parts(path: Path, about: BatchInfo, schema: DatasetSchema, seq: int) -> Iterator[tuple[pl.DataFrame, Count]]:
    """Rows of `fact_prediction`, some at a time, each with what counts its features.

    Args:
        path: the artefact.
        about: what it says of itself.
        schema: the contract.
        seq: number of the batch in the OLTP database.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it is damaged.
    """
    kinds = aggregation.types(star_schema.FACT_PREDICTION)
    fixed = {
        "seq": seq,
        "batch_id": about.batch_id,
        "created_us": about.created_us,
        "hour_us": about.created_us - about.created_us % HOUR_US,
        "model": about.model,
        "version": about.version,
        "test_id": "",
        "arm": "",
        "threshold": about.threshold,
        "unit_id": None,
        "shadow": None,
        "latency_us": share(about),
        "row_hash": None,
    }
    features = list(schema.columns)
    for frame in frames(path):
        rows = frame.filter(pl.col("prediction").is_not_null())
        held = input_columns(frame.columns, about)
        there = [name for name in features if name in held]
        # As single predictions are recorded: with day numbers, plain numbers for "1.299,50", and null for a word that means missing.
        table = normalised(rows.select(pl.col(held[name]).alias(name) for name in there), schema)
        unseen = pl.format('["{}"]', pl.col("unseen").str.replace_all(",", '","', literal=True)).fill_null("[]")
        features_json = table.select(pl.struct(there).struct.json_encode()).to_series() if there else pl.lit("{}")
        facts = rows.select(
            *(pl.lit(value, dtype=kinds[name]).alias(name) for name, value in fixed.items()),
            *(ID, "prediction", "probability", "verdict", "novelty_p"),
            unseen=unseen,
            features=features_json,
        )
        texts = table.select(pl.col(name).cast(pl.String).alias(f"{place}") for place, name in enumerate(features) if name in there)
        yield facts.select(star_schema.FACT_PREDICTION.names), partial(_count, rows.select(ID).hstack(texts), len(features))


def _count(texts: pl.DataFrame, features: int, new: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """The cells of so many features in those of the rows that are new; a column that the file has not was not observed."""
    with_cells = new.select(ID, *CELL_NAMES, "unseen").join(cells, on=list(CELL_NAMES), how="left")
    both = with_cells.select(ID, "cell", "unseen").join(texts, on=ID, how="left")
    absent = {str(place) for place in range(features)} - set(texts.columns)
    counted = [
        both.group_by("cell", "unseen", (pl.lit(None) if place in absent else pl.col(place)).cast(pl.String).alias("text"))
        .agg(answers=pl.len())
        .with_columns(feature=pl.lit(int(place)), there=pl.lit(place not in absent))
        for place in map(str, range(features))
    ]
    empty = pl.DataFrame(schema=GIVEN)
    return pl.concat([empty, *(part.select(*GIVEN).cast(GIVEN) for part in counted)])  # type: ignore[arg-type]  # a dict of types is what it takes

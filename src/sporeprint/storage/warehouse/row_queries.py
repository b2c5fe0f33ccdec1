"""What the monitor asks the warehouse about different rows: a row that comes again says nothing new, so it counts once.

Rows are distinguished by the hash of their cleaned values. Where an earlier release recorded none, each answer is a row of its own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from sporeprint.monitoring.performance_estimation import ScoreHistograms
from sporeprint.safety.verdict import UNKNOWN, verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.stats.histogram import Histogram
from sporeprint.storage.warehouse.monitoring_queries import PredictionScope, among, between, frame, text
from sporeprint.storage.warehouse.protocol import Reader

#: Outcomes from which on only a share of the different rows is counted.
MOST_OUTCOMES = 2_000_000
#: Bins of a probability, where it is counted with its verdict. Its mean stands for each.
SCORE_BINS = 1024
#: What tells rows apart, as columns of SQL.
ROW = "row_hash, CASE WHEN row_hash IS NULL THEN prediction_id END"


class RowOutcomes(NamedTuple):
    """How many different rows have an outcome.

    Attributes:
        window: number of the window that the answers are of, from 0.
        verdict: their verdict.
        likelier: their likelier class.
        outcome: their outcome.
        rows: how many.
        unhashed: those of them that an earlier release recorded, which did not tell rows apart: each answer is a row of its own.
    """

    window: int
    verdict: str
    likelier: str
    outcome: str
    rows: int
    unhashed: int


def row_outcomes(
    reader: Reader,
    scope: PredictionScope,
    first_us: int,
    last_us: int,
    *,
    length_us: int | None = None,
    verdict: str | None = None,
    newest: bool = True,
    most: int = MOST_OUTCOMES,
) -> list[RowOutcomes]:
    """Outcomes of different rows: of equal rows in a window, one answer counts.

    Args:
        reader: one state of the warehouse.
        scope: whose answers.
        first_us: the first hour.
        last_us: the first hour after it.
        length_us: of the windows that follow each other; None: all of it is one window.
        verdict: only answers with this verdict.
        newest: whether the newest answer counts; otherwise the first, so that what was counted does not change later.
        most: outcomes from which on only a share of the different rows is counted: what bounds time and memory.
    """
    where = f"{scope.where()} AND {between(first_us, last_us)}{'' if verdict is None else f' AND verdict = {text(verdict)}'}"
    total = int(reader.query(f"SELECT SUM(answers) FROM hour_outcomes WHERE {where}").rows[0][0] or 0)  # noqa: S608
    some = f" AND MOD(COALESCE(row_hash, created_us), {-(-total // most)}) = 0" if total > most else ""
    window = "0" if length_us is None else f"FLOOR((hour_us - {int(first_us)}) / {int(length_us)})"
    order = " DESC" if newest else ""
    numbered = (
        f"SELECT {window} AS part, verdict, prediction, outcome, row_hash, "  # noqa: S608
        f"ROW_NUMBER() OVER (PARTITION BY {window}, {ROW} "
        f"ORDER BY created_us{order}, prediction_id{order}) AS number FROM fact_outcome WHERE latest = 1 AND {where}{some}"
    )
    by = "part, verdict, prediction, outcome"
    sql = f"SELECT {by}, COUNT(*), COUNT(*) - COUNT(row_hash) FROM ({numbered}) numbered WHERE number = 1 GROUP BY {by}"  # noqa: S608
    return [
        RowOutcomes(int(part), word, likelier, outcome, int(rows), int(unhashed))
        for part, word, likelier, outcome, rows, unhashed in reader.query(sql).rows
    ]


def negative_outcomes(reader: Reader, cell: PredictionScope, verdict: str, positive: str, last_us: int) -> tuple[int, int]:
    """Of the answers with a verdict, before an hour: how many different rows have an outcome, how many of those are of the positive class.

    Of equal rows the first counts: an e-process has to see each row once, and never another outcome of it.
    """
    counted = row_outcomes(reader, cell, 0, last_us, verdict=verdict, newest=False)
    return sum(row.rows for row in counted), sum(row.rows for row in counted if row.outcome == positive)


def independent_share(reader: Reader, scope: PredictionScope, hours: Sequence[int]) -> float:
    """How many independent answers an answer in these hours is worth (Kish 1965): 1 where no row repeats."""
    where = f"{scope.where()} AND {among(hours)}"
    repeats = f"SELECT COUNT(*) AS times FROM fact_prediction WHERE {where} GROUP BY {ROW}"  # noqa: S608
    total, squared = reader.query(f"SELECT SUM(times), SUM(times * times) FROM ({repeats}) repeats").rows[0]  # noqa: S608
    return float(total) / float(squared) if total else 1.0


def scores(reader: Reader, cell: PredictionScope, hours: Sequence[int], schema: DatasetSchema) -> ScoreHistograms:
    """The probabilities of different rows that were answered in these hours, by verdict."""
    where = f"{cell.where()} AND {among(hours)} AND probability IS NOT NULL"
    rows = f"SELECT MAX(verdict) AS verdict, MAX(probability) AS probability FROM fact_prediction WHERE {where} GROUP BY {ROW}"  # noqa: S608
    by = f"verdict, FLOOR(probability * {SCORE_BINS})"
    sql = f"SELECT {by}, COUNT(*), SUM(probability) FROM ({rows}) answers GROUP BY {by}"  # noqa: S608
    number = {word: place for place, word in enumerate(verdict_words(schema))}
    values: list[list[float]] = [[], [], []]
    counts: list[list[int]] = [[], [], []]
    invalid = 0
    for verdict, _, count, total in reader.query(sql).rows:
        mean = round(float(total) / int(count), 12)  # engines add in orders of their own
        if not 0 <= mean <= 1:
            invalid += int(count)
            continue
        place = number.get(verdict, UNKNOWN)
        values[place].append(mean)
        counts[place].append(int(count))
    parts = []
    for slice_, many in zip(values, counts, strict=True):
        means = np.array(slice_, dtype=np.float64)
        parts.append(Histogram.of_bins(means, means, np.array(many, dtype=np.int64), 0))
    return ScoreHistograms(tuple(parts), invalid)


def labelled(reader: Reader, cell: PredictionScope, hours: Sequence[int], schema: DatasetSchema) -> pl.DataFrame:
    """Different rows that were answered in these hours and whose outcome is known, the newest answer of each: the columns of `frame`."""
    sql = (
        f"SELECT p.features, p.probability, p.novelty_p, p.verdict, o.outcome, p.row_hash, p.prediction_id FROM fact_outcome o "  # noqa: S608
        "JOIN fact_prediction p ON p.created_us = o.created_us AND p.prediction_id = o.prediction_id "
        f"WHERE o.latest = 1 AND {cell.where('o')} AND {among(hours, 'o')} AND {among(hours, 'p')} "
        "ORDER BY p.created_us, p.prediction_id"
    )
    return frame(_last_of_each(reader.query(sql).rows), schema)


def sampled(reader: Reader, scope: PredictionScope, hours: Sequence[int], schema: DatasetSchema) -> pl.DataFrame:
    """Different rows that were answered in these hours: the columns of `frame`, the outcome always null."""
    where = f"{scope.where()} AND {among(hours)}"
    columns = "features, probability, novelty_p, verdict, NULL AS outcome, row_hash, prediction_id"
    sql = f"SELECT {columns} FROM fact_prediction WHERE {where} ORDER BY created_us, prediction_id"  # noqa: S608
    return frame(_last_of_each(reader.query(sql).rows), schema)


def _last_of_each(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The last of the rows with one hash, their last value but one; without a hash the last value, the id, tells them apart."""
    return list({row[-1] if row[-2] is None else row[-2]: row for row in rows}.values())

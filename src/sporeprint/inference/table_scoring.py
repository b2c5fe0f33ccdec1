"""Scores of a whole table that somebody holds in memory: pandas, Polars, Arrow or a list of dicts."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.data.coded_table import Codes, coded_frame
from sporeprint.data.validation import broken_rules, explain, feature_rules
from sporeprint.data.written_values import normalised
from sporeprint.errors import nearest
from sporeprint.inference.native_frame import object_text, polars_frame
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import Scorer
from sporeprint.safety.decision_rule import DecisionRule, joint_vocabulary
from sporeprint.safety.verdict import HALF, verdict_words
from sporeprint.schema import DatasetSchema

#: Rows named in an error.
SHOWN = 3

Rows = Sequence[Mapping[str, Any]]
Words = npt.NDArray[np.str_]


class Servable(Protocol):
    """What scores a row: a bundle, or the parts of one."""

    @property
    def encoder(self) -> Encoder:
        """From raw values to the matrix."""

    @property
    def scorer(self) -> Scorer:
        """From the matrix to P(positive)."""

    @property
    def schema(self) -> DatasetSchema:
        """The table's contract."""

    @property
    def safety(self) -> DecisionRule:
        """What stands between a score and an answer."""


def class_codes(schema: DatasetSchema) -> Words:
    """The two class codes, the negative one first."""
    return np.array([schema.target.negative, schema.target.positive])


def class_probabilities(model: Servable, X: Any) -> npt.NDArray[np.float64]:
    """Calibrated probability of every class, float64 [n, 2], the columns as in `class_codes`.

    Args:
        model: what scores.
        X: n rows: a pandas or Polars DataFrame, an Arrow table, or a list of dicts, in which a column left out is missing.

    Raises:
        TypeError: if X is none of these.
        ValueError: if a column is missing or unknown, or a row breaks a rule of the schema, naming both.
    """
    positive = model.safety.calibration(model.scorer.score(model.encoder.matrix(feature_codes(model, X))))
    return np.column_stack([1.0 - positive, positive])


def predicted_classes(model: Servable, X: Any) -> Words:
    """The likelier class's code of every row, [n]: the positive one where P(positive) is above 0.5. Raises as `class_probabilities`."""
    codes: Words = class_codes(model.schema)[(class_probabilities(model, X)[:, 1] > HALF).astype(np.intp)]
    return codes


def verdicts(model: Servable, X: Any) -> Words:
    """The verdict on every row, [n]: a class's word, or "unknown". Raises as `class_probabilities`."""
    codes = feature_codes(model, X)
    scores = model.scorer.score(model.encoder.matrix(codes))
    predictions = model.safety.predictions(codes, scores, model.encoder, model.schema)
    words: Words = np.array(verdict_words(model.schema))[predictions.verdict]
    return words


def feature_codes(model: Servable, X: Any) -> Codes:
    """The rows of a table in the codes of a model. Raises as `class_probabilities`."""
    schema = model.schema
    frame, values = feature_frame(X, schema), joint_vocabulary(model.encoder, model.safety.guard, schema)
    compact = coded_frame(normalised(frame, schema), values, schema.numeric)
    if flags := broken_rules(compact, feature_rules(schema, closed=False)):
        _refuse(frame, flags, schema)
    return Codes.of_coded(compact, schema, values)


def feature_frame(X: Any, schema: DatasetSchema) -> pl.DataFrame:
    """The schema's columns as a Polars frame, NaN as missing."""
    if isinstance(X, Sequence) and not isinstance(X, str | bytes):
        return _frame_of_rows(X, schema)
    try:
        table = nw.from_native(X, eager_only=True)
    except TypeError:
        raise TypeError(f"expected a pandas or Polars DataFrame, an Arrow table or a list of dicts, got {type(X).__name__}") from None
    _check_columns(table.columns, schema)
    if absent := [name for name in schema.columns if name not in table.columns]:
        raise ValueError(f"column {absent[0]!r} is missing{nearest(absent[0], table.columns)}; needed: {', '.join(schema.columns)}")
    return polars_frame(table.select(list(schema.columns))).with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def _frame_of_rows(X: Rows, schema: DatasetSchema) -> pl.DataFrame:
    for row in X:
        if not isinstance(row, Mapping):
            raise TypeError(f"expected a list of dicts, one a row; got a list with {type(row).__name__}")
        _check_columns(row, schema)
    columns = {name: [object_text(row.get(name)) for row in X] for name in schema.columns}
    return pl.DataFrame(columns, schema=dict.fromkeys(schema.columns, pl.String))


def _check_columns(names: Any, schema: DatasetSchema) -> None:
    if schema.extra_columns == "ignore":
        return
    # A labelled table may be given as it is: target and group are known columns, and are not read.
    allowed = {*schema.columns, *schema.table_columns}
    if unknown := next((name for name in names if name not in allowed), None):
        raise ValueError(f"unknown column {unknown!r}{nearest(str(unknown), schema.columns)}; known: {', '.join(schema.columns)}")


def _refuse(frame: pl.DataFrame, flags: Mapping[str, npt.NDArray[np.bool_]], schema: DatasetSchema) -> None:
    rows = np.flatnonzero(np.logical_or.reduce(list(flags.values()))).tolist()
    reasons = explain(frame, flags, schema)["reason"].to_list()
    shown = [f"row {row}: {reason}" for row, reason in zip(rows[:SHOWN], reasons, strict=False)]
    more = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    raise ValueError(f"{len(rows)} of {frame.height} rows cannot be scored: {'; '.join(shown)}{more}")

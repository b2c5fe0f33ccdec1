"""Metrics of a model on labelled rows that somebody holds in memory."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from sporeprint.data.written_values import parse_code
from sporeprint.errors import DataError, nearest
from sporeprint.safety.verdict import HALF
from sporeprint.schema import DatasetSchema


def label_array(labels: Any, schema: DatasetSchema, rows: int) -> npt.NDArray[np.bool_]:
    """Whether each row is of the positive class, bool [n].

    Args:
        labels: classes as codes or words, or a table with the target column.
        schema: the schema.
        rows: n.

    Raises:
        DataError: no target column, a class that is none, or not as many labels as rows.
    """
    target = schema.target
    if hasattr(labels, "columns") or hasattr(labels, "column_names"):
        table = nw.from_native(labels, eager_only=True)
        if target.column not in table.columns:
            raise DataError(f"no column {target.column!r}, the target{nearest(target.column, table.columns)}; or give the labels as y")
        values = table[target.column].to_list()
    elif isinstance(labels, Sequence) and labels and isinstance(labels[0], dict):
        values = [row.get(target.column) for row in labels]
    else:
        values = labels.to_list() if hasattr(labels, "to_list") else list(labels)
    if len(values) != rows:
        raise DataError(f"{len(values)} labels are given for {rows} rows")
    codes = {word: code for code, word in target.values.items()}
    positives = []
    for place, value in enumerate(values):
        code = (
            None
            if value is None or value != value
            else parse_code(getattr(value, "item", lambda v=value: v)(), (), target.values, target.aliases)
        )
        code = codes.get(code or "", code)
        if code not in target.values:
            raise DataError(f"row {place}: {value!r} is no class of {target.column!r}; expected one of {', '.join(target.values)}")
        positives.append(code == target.positive)
    return np.array(positives, dtype=np.bool_)


def table_metrics(
    positive: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64], verdict: npt.NDArray[np.str_], schema: DatasetSchema
) -> dict[str, float]:
    """The metrics that `Model.evaluate` returns.

    Raises:
        DataError: there is one class only.
    """
    positives, rows = int(positive.sum()), len(positive)
    if not 0 < positives < rows:
        raise DataError("the rows are of one class only; metrics need both")
    words = schema.target.values
    said_positive, said_negative = verdict == words[schema.target.positive], verdict == words[schema.target.negative]
    known = said_positive | said_negative
    right = (said_positive & positive) | (said_negative & ~positive)
    return {
        "rows": float(rows),
        "accuracy": float(((probability > HALF) == positive).mean()),
        "roc_auc": _roc_auc(positive, probability),
        "coverage": float(known.mean()),
        "correct": float(right.sum() / max(known.sum(), 1)),
        "false_negatives": float((said_negative & positive).sum()),
        "false_positives": float((said_positive & ~positive).sum()),
    }


def _roc_auc(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> float:
    """The share of pairs of a positive and a negative row that the score orders rightly (Mann & Whitney 1947); ties count half."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = positive.sum()
    return float((rank[positive].sum() - positives * (positives + 1) / 2) / (positives * (len(positive) - positives)))

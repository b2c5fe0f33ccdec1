"""One row at a time, or a few: what gives their scores fastest, to the same numbers as the model's own scorer.

A boosted model's own library spends most of a single row's time on its entry (docs/decisions/0013). The same trees as one node of an ONNX
graph take a tenth of that. Whatever is chosen is held against the model's own scorer before it serves.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.inference.model_bundle import Bundle
from sporeprint.models.encoder import Matrix
from sporeprint.models.scorers import TOLERANCE, LinearScorer, OnnxScorer, Scorer, XGBoostScorer, session_probabilities

Scores = npt.NDArray[np.float64]
#: From a matrix of one row, float32 [1, m], to its score.
ScoreRow = Callable[[Matrix], float]
#: From a matrix of a few rows, float32 [n, m], to their scores, [n].
ScoreRows = Callable[[Matrix], Scores]


@dataclass(frozen=True)
class SingleRowScorer:
    """A way to score one row.

    Attributes:
        score: of one row.
        scores: of a few.
        engine: what it runs on: onnx, linear, or the scorer's own.
    """

    score: ScoreRow
    scores: ScoreRows
    engine: str


def single_row_scorer(bundle: Bundle) -> SingleRowScorer:
    """The fastest way to score one row of a model that gives the model's own scores on its golden rows."""
    scorer, golden = bundle.scorer, bundle.golden
    fast_scorer = _of(scorer)
    rows = [bundle.encoder.encode_row(row)[np.newaxis] for row in golden.rows]
    if fast_scorer is not None and rows:
        served = np.array([[fast_scorer.score(row) for row in rows], fast_scorer.scores(np.vstack(rows))])
        if not np.abs(served - golden.scores).max() <= TOLERANCE:
            fast_scorer = None
    return fast_scorer or SingleRowScorer(lambda row: float(scorer.score(row)[0]), scorer.score, scorer.kind)


def _of(scorer: Scorer) -> SingleRowScorer | None:
    if isinstance(scorer, XGBoostScorer):
        return None if scorer.graph is None else SingleRowScorer(*_margins(scorer.graph), "onnx")
    if isinstance(scorer, OnnxScorer):
        return SingleRowScorer(_probability(scorer), scorer.score, "onnx")
    if isinstance(scorer, LinearScorer):
        return SingleRowScorer(_linear(scorer), scorer.score, "linear")
    return None


def _sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)) without overflow."""
    e = math.exp(-abs(z))
    return (1.0 if z >= 0 else e) / (1.0 + e)


def _linear(scorer: LinearScorer) -> ScoreRow:
    coefficients, intercept = scorer.coefficients, scorer.intercept
    return lambda row: _sigmoid(float(coefficients.dot(row[0])) + intercept)


def _probability(scorer: OnnxScorer) -> ScoreRow:
    run, dtype, names = scorer.session.run, scorer.dtype, ["positive"]
    return lambda row: min(max(float(run(names, {"X": row.astype(dtype, copy=False)})[0][0]), 0.0), 1.0)


def _margins(graph: bytes) -> tuple[ScoreRow, ScoreRows]:
    session = OnnxScorer.of(graph).session
    return _BoundRow(session), lambda rows: session_probabilities(session, rows)


class _BoundRow:
    """Scores rows that come in the same buffer: the graph reads it in place, which saves a third of the time."""

    def __init__(self, session: Any) -> None:
        self._session, self._binding = session, session.io_binding()
        self._row: Matrix | None = None
        self._margin = np.empty((1, 1), dtype=np.float32)
        self._binding.bind_output("margin", "cpu", 0, np.float32, [1, 1], self._margin.ctypes.data)

    def __call__(self, row: Matrix) -> float:
        if row is not self._row:
            self._row = row  # held, so that its memory stays
            self._binding.bind_input("X", "cpu", 0, np.float32, list(row.shape), row.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        return _sigmoid(float(self._margin[0, 0]))

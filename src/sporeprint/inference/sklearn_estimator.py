"""A registered model as a scikit-learn classifier over raw tables, for notebooks and scikit-learn's tools.

It holds the same encoder and scorer that serve, as text and bytes: there is no second encoding of a row anywhere.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import joblib
import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin

from sporeprint.data.coded_table import Codes, coded_frame
from sporeprint.data.validation import broken_rules, explain, feature_rules
from sporeprint.errors import UsageError, nearest
from sporeprint.models.encoder import Encoder, Matrix
from sporeprint.models.scorers import Scorer, load_scorer
from sporeprint.safety.decision_rule import DecisionRule, joint_vocabulary
from sporeprint.safety.verdict import HALF, verdict_words
from sporeprint.schema import DatasetSchema

#: Rows named in an error.
SHOWN = 3

Rows = Sequence[Mapping[str, Any]]


class Servable(Protocol):
    """What an estimator is made of."""

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


class SporeprintClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A fitted classifier over raw rows: pandas or Polars frames, Arrow tables, or a list of dicts, columns in any order.

    None, NaN and an empty text are missing values. A value never seen in training is scored as such; a value that
    breaks the schema's rules (no number, out of range, a required one missing) is refused.

    Attributes:
        encoder: the encoder as JSON.
        kind: the scorer's kind.
        files: the scorer's files.
        safety: the files of calibration, guard and threshold.
        schema: the schema as JSON.
        threads: threads that scoring may use.
        classes_: the two class codes, the negative one first. `predict_proba` has their columns in this order.
        feature_names_in_: the columns it reads.
        n_features_in_: how many these are.
    """

    def __init__(
        self, encoder: str, kind: str, files: Mapping[str, bytes], safety: Mapping[str, bytes], schema: str, threads: int = 1
    ) -> None:
        self.encoder = encoder
        self.kind = kind
        self.files = files
        self.safety = safety
        self.schema = schema
        self.threads = threads

    @classmethod
    def from_bundle(cls, bundle: Servable, *, threads: int = 1) -> Self:
        """The estimator of a bundle."""
        scorer, safety = bundle.scorer.to_files(), bundle.safety.to_files()
        return cls(bundle.encoder.to_json(), bundle.scorer.kind, scorer, safety, bundle.schema.model_dump_json(), threads)

    @property
    def classes_(self) -> npt.NDArray[np.str_]:
        """The two class codes, the negative one first."""
        target = self._parts()[0].target
        return np.array([target.negative, target.positive])

    @property
    def feature_names_in_(self) -> npt.NDArray[np.object_]:
        """The columns it reads."""
        return np.array(list(self._parts()[0].columns), dtype=object)

    @property
    def n_features_in_(self) -> int:
        """How many columns it reads."""
        return len(self._parts()[0].columns)

    def fit(self, X: Any, y: Any) -> Self:  # noqa: ARG002  # scikit-learn's signature
        """Refuse: the estimator is one registered version, which never changes.

        Raises:
            UsageError: always.
        """
        raise UsageError("this estimator is a registered version, it cannot be fitted again; make a new version with sporeprint train")

    def predict(self, X: Any) -> npt.NDArray[np.str_]:
        """The likelier class's code of every row, [n]: the positive one where P(positive) is above 0.5.

        What to rely on is `verdict`, which knows what it does not know.

        Raises:
            ValueError: see `predict_proba`.
        """
        classes: npt.NDArray[np.str_] = self.classes_[(self.predict_proba(X)[:, 1] > HALF).astype(np.intp)]
        return classes

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Calibrated probability of every class, float64 [n, 2], the columns as in `classes_`.

        Args:
            X: n rows: a pandas or Polars DataFrame, an Arrow table, or a list of dicts, in which a column left out is missing.

        Raises:
            TypeError: if X is none of these.
            ValueError: if a column is missing or unknown, or a row breaks a rule of the schema, naming both.
        """
        _, _, scorer, safety = self._parts()
        positive = safety.calibration(scorer.score(self._encoded(X)[1]))
        return np.column_stack([1.0 - positive, positive])

    def verdict(self, X: Any) -> npt.NDArray[np.str_]:
        """What is answered for every row, [n]: a class's word, or "unknown" where the row is unlike the training rows.

        Raises:
            ValueError: see `predict_proba`.
        """
        schema, encoder, scorer, safety = self._parts()
        codes, matrix = self._encoded(X)
        predictions = safety.predictions(codes, scorer.score(matrix), encoder, schema)
        answered: npt.NDArray[np.str_] = np.array(verdict_words(schema))[predictions.verdict]
        return answered

    def _encoded(self, X: Any) -> tuple[Codes, Matrix]:
        schema, encoder, _, safety = self._parts()
        frame, values = _frame_of(X, schema), joint_vocabulary(encoder, safety.guard, schema)
        compact = coded_frame(frame, values, schema.numeric)
        if flags := broken_rules(compact, feature_rules(schema, closed=False)):
            _refuse(frame, flags, schema)
        codes = Codes.of_coded(compact, schema, values)
        return codes, encoder.matrix(codes)

    def _parts(self) -> tuple[DatasetSchema, Encoder, Scorer, DecisionRule]:
        """The loaded objects; they are made once, and never pickled."""
        loaded = self.__dict__.get("_loaded")
        if loaded is None:
            scorer, safety = load_scorer(self.kind, self.files, self.threads), DecisionRule.from_files(self.safety)
            loaded = DatasetSchema.model_validate_json(self.schema), Encoder.from_json(self.encoder), scorer, safety
            self._loaded = loaded
        parts: tuple[DatasetSchema, Encoder, Scorer, DecisionRule] = loaded
        return parts

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as scikit-learn has it; what was loaded is loaded again."""
        self.__dict__.pop("_loaded", None)
        super().set_params(**params)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        schema = self._parts()[0]
        return f"SporeprintClassifier({self.kind}, {schema.name}, {len(schema.columns)} columns, classes {'/'.join(self.classes_)})"


def to_joblib(estimator: SporeprintClassifier) -> bytes:
    """What `joblib.load` reads back as the estimator. Equal estimators give equal bytes."""
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, protocol=4)  # a fixed protocol: the default differs between Python versions
    return buffer.getvalue()


def _frame_of(X: Any, schema: DatasetSchema) -> pl.DataFrame:
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
    try:
        frame: pl.DataFrame = table.select(list(schema.columns)).to_polars()
    except (TypeError, ValueError) as error:  # Arrow's, on a pandas column of objects of several types
        raise ValueError(f"the table cannot be read: {error}; make every column text or numbers") from error
    objects = [
        pl.Series(name, [_text(value) for value in frame[name]], dtype=pl.String)
        for name in frame.columns
        if frame[name].dtype == pl.Object
    ]
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None), *objects)


def _frame_of_rows(X: Rows, schema: DatasetSchema) -> pl.DataFrame:
    for row in X:
        if not isinstance(row, Mapping):
            raise TypeError(f"expected a list of dicts, one a row; got a list with {type(row).__name__}")
        _check_columns(row, schema)
    columns = {name: [_text(row.get(name)) for row in X] for name in schema.columns}
    return pl.DataFrame(columns, schema=dict.fromkeys(schema.columns, pl.String))


def _text(value: Any) -> str | None:
    """A value as a file would hold it; the number reads back as the same float64."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else repr(float(value))
    return str(value)


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

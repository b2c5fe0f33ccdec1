"""A registered model as a scikit-learn classifier over raw tables, for notebooks and scikit-learn's tools.

It holds the same encoder and scorer that serve, as text and bytes: there is no second encoding of a row anywhere.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from sporeprint.errors import UsageError
from sporeprint.inference.table_scoring import Servable, class_codes, class_probabilities, predicted_classes, verdicts
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import Scorer, load_scorer
from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.schema import DatasetSchema


@dataclass(frozen=True)
class _Parts:
    """What an unpickled estimator has loaded."""

    encoder: Encoder
    scorer: Scorer
    schema: DatasetSchema
    safety: DecisionRule


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

    >>> import sporeprint
    >>> estimator = sporeprint.SporeprintClassifier.from_bundle(sporeprint.load("xgboost", WORKDIR).bundle)
    >>> estimator.classes_
    array(['e', 'p'], dtype='<U1')
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
        return class_codes(self._parts().schema)

    @property
    def feature_names_in_(self) -> npt.NDArray[np.object_]:
        """The columns it reads."""
        return np.array(list(self._parts().schema.columns), dtype=object)

    @property
    def n_features_in_(self) -> int:
        """How many columns it reads."""
        return len(self._parts().schema.columns)

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
        return predicted_classes(self._parts(), X)

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Calibrated probability of every class, float64 [n, 2], the columns as in `classes_`.

        Args:
            X: n rows: a pandas or Polars DataFrame, an Arrow table, or a list of dicts, in which a column left out is missing.

        Raises:
            TypeError: if X is none of these.
            ValueError: if a column is missing or unknown, or a row breaks a rule of the schema, naming both.
        """
        return class_probabilities(self._parts(), X)

    def verdict(self, X: Any) -> npt.NDArray[np.str_]:
        """The verdict on every row, [n]: a class's word, or "unknown" where the row is out of distribution.

        Raises:
            ValueError: see `predict_proba`.
        """
        return verdicts(self._parts(), X)

    def _parts(self) -> _Parts:
        """The loaded objects; they are made once, and never pickled."""
        loaded: _Parts | None = self.__dict__.get("_loaded")
        if loaded is None:
            scorer, safety = load_scorer(self.kind, self.files, self.threads), DecisionRule.from_files(self.safety)
            loaded = _Parts(Encoder.from_json(self.encoder), scorer, DatasetSchema.model_validate_json(self.schema), safety)
            self._loaded = loaded
        return loaded

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
        schema = self._parts().schema
        return f"SporeprintClassifier({self.kind}, {schema.name}, {len(schema.columns)} columns, classes {'/'.join(self.classes_)})"


def to_joblib(estimator: SporeprintClassifier) -> bytes:
    """What `joblib.load` reads back as the estimator. Equal estimators give equal bytes."""
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, protocol=4)  # a fixed protocol: the default differs between Python versions
    return buffer.getvalue()

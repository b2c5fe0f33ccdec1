"""A model as a person uses it from Python: rows in, verdicts and their reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.inference.identification import identify_row
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import Explanation, explain_row, not_observed, parse_row
from sporeprint.inference.table_metrics import label_array, table_metrics
from sporeprint.inference.table_scoring import class_codes, class_probabilities, predicted_classes, verdicts
from sporeprint.messages.identification import Identification
from sporeprint.schema import DatasetSchema


@dataclass(frozen=True, repr=False)
class Model:
    """A fitted model with its encoder, calibration, guard and threshold.

    Methods that take a table accept a pandas or Polars DataFrame, an Arrow table or a list of dicts, columns in any order.
    Missing values are None, NaN or an empty text.

    Attributes:
        bundle: the parts of the model.
        ref: its name in the registry, as in "xgboost/v3"; its name alone while it is not registered.
        notes: what a person should know before they rely on it, where it was just fitted; a sentence each.

    >>> import sporeprint
    >>> model = sporeprint.load("xgboost", WORKDIR)
    >>> row = {name: None for name in model.schema.columns} | {"cap-diameter": 8.5, "cap-shape": "convex"}
    >>> model.verdict([row])
    array(['unknown'], dtype='<U9')
    """

    bundle: Bundle
    ref: str
    notes: tuple[str, ...] = ()

    @property
    def schema(self) -> DatasetSchema:
        """The columns and the target it was trained on."""
        return self.bundle.schema

    @property
    def classes(self) -> npt.NDArray[np.str_]:
        """The two class codes, the negative one first."""
        return class_codes(self.schema)

    @property
    def is_simulated(self) -> bool:
        """Whether it was trained on simulated data."""
        return bool(self.bundle.info.get("simulated"))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Its evaluation, as JSON values."""
        return self.bundle.metrics

    def predict(self, X: Any) -> npt.NDArray[np.str_]:
        """The likelier class's code of every row, [n]. `verdict` also says where the model does not know.

        Raises:
            TypeError: if X is no table.
            ValueError: if a column is missing or unknown, or a row breaks a rule of the schema; names both.
        """
        return predicted_classes(self.bundle, X)

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Calibrated probability of every class, float64 [n, 2], the columns as in `classes`. Raises as `predict`."""
        return class_probabilities(self.bundle, X)

    def verdict(self, X: Any) -> npt.NDArray[np.str_]:
        """The verdict on every row, [n]: a class's word, or "unknown" where the model cannot say. Raises as `predict`."""
        return verdicts(self.bundle, X)

    def explain(self, row: Mapping[str, Any], *, most: int = 5) -> Explanation:
        """The prediction for one row, its feature attributions and the nearest training row.

        Args:
            row: column -> value, as a code or a word; a column left out is missing.
            most: number of columns in the explanation.

        Raises:
            DataError: if a field is unknown or its value is not allowed.
        """
        return explain_row(self.bundle, parse_row(row, self.schema), most=most)

    def identify(self, row: Mapping[str, Any], *, most_fits: int = 8, most_questions: int = 3) -> Identification:
        """Where the identification of one row stands: the verdict, the known groups that fit, and what to look at next.

        Args:
            row: column -> value, as a code or a word; a column left out was not observed, "not observed" cannot be told.
            most_fits: known groups that are named.
            most_questions: questions that are named.

        Raises:
            DataError: if a field is unknown or its value is not allowed, or the version cannot answer partial rows.
        """
        parsed, cannot_tell = parse_row(row, self.schema), not_observed(row, self.schema)
        return identify_row(self.bundle, parsed, cannot_tell=cannot_tell, most_fits=most_fits, most_questions=most_questions)

    def evaluate(self, X: Any, y: Any = None) -> dict[str, float]:
        """How good the model is on labelled rows.

        Args:
            X: n rows, with the target column where `y` is left out.
            y: [n], the class of each row, as a code or a word.

        Returns:
            rows; accuracy and ROC AUC of the classifier; coverage, the share of rows that have a verdict other than "unknown";
            correct, the share of those that is right; false_negatives and false_positives, how many of them are wrong.

        Raises:
            DataError: there is no target column, a class is unknown, or there is one class only.
            ValueError: see `predict`.
        """
        positive = label_array(X if y is None else y, self.schema, len(X))
        probability, verdict = self.predict_proba(X)[:, 1], self.verdict(X)
        return table_metrics(positive, probability, verdict, self.schema)

    def __repr__(self) -> str:
        note = ", trained on SIMULATED data" if self.is_simulated else ""
        return f"Model({self.ref}: {self.schema.name}, {len(self.schema.columns)} columns, classes {'/'.join(self.classes)}{note})"

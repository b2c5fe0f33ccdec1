"""A model as a person uses it from Python: rows in, verdicts and their reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import Explanation, explain_row, parse_row
from sporeprint.inference.table_scoring import class_codes, class_probabilities, predicted_classes, verdicts
from sporeprint.schema import DatasetSchema


@dataclass(frozen=True, repr=False)
class Model:
    """A fitted model with its encoder, calibration, guard and threshold.

    Methods that take a table accept a pandas or Polars DataFrame, an Arrow table or a list of dicts, columns in any order.
    Missing values are None, NaN or an empty text.

    Attributes:
        bundle: the parts of the model.
        ref: its name in the registry, as in "xgboost/v3"; its name alone while it is not registered.

    >>> import sporeprint
    >>> model = sporeprint.load("xgboost", WORKDIR)
    >>> row = {name: None for name in model.schema.columns} | {"cap-diameter": 8.5, "cap-shape": "convex"}
    >>> model.verdict([row])
    array(['unknown'], dtype='<U9')
    """

    bundle: Bundle
    ref: str

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

    def __repr__(self) -> str:
        note = ", trained on SIMULATED data" if self.is_simulated else ""
        return f"Model({self.ref}: {self.schema.name}, {len(self.schema.columns)} columns, classes {'/'.join(self.classes)}{note})"

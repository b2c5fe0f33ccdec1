"""The peers' model as BentoML services: one row a call, and with adaptive batching."""

import os
from pathlib import Path
from typing import Any

import bentoml
import joblib
import pandas as pd


def _model() -> Any:
    return joblib.load(Path(os.environ["BENCH_FOLDER"]) / "pipeline.joblib")


@bentoml.service(workers=1, traffic={"timeout": 30})
class Mushrooms:
    """One row a call."""

    def __init__(self) -> None:
        self.model = _model()
        self.columns = list(self.model.feature_names_in_)

    @bentoml.api
    def predict(self, row: dict[str, Any]) -> dict[str, float]:
        """Answer one row."""
        frame = pd.DataFrame([[row.get(name) for name in self.columns]], columns=self.columns)
        return {"probability": float(self.model.predict_proba(frame)[0, 1])}


@bentoml.service(workers=1, traffic={"timeout": 30})
class Batching:
    """Rows of several calls are scored together."""

    def __init__(self) -> None:
        self.model = _model()
        self.columns = list(self.model.feature_names_in_)

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=50)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Answer the rows of many calls."""
        frame = pd.DataFrame([[row.get(name) for name in self.columns] for row in rows], columns=self.columns)
        return [float(value) for value in self.model.predict_proba(frame)[:, 1]]

"""The model of the peers: as many trees as sporeprint's behind a one-hot encoding, as one scikit-learn pipeline."""

import os
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier


def fitted() -> Pipeline:
    """The pipeline, fitted once and kept."""
    path = Path(os.environ["BENCH_FOLDER"]) / "pipeline.joblib"
    if not path.exists():
        table = pd.read_parquet(os.environ["BENCH_TABLE"])
        X, y = table.drop(columns="class"), (table["class"] == "p").astype(int)
        nominal = [name for name in X.columns if X[name].dtype.kind not in "fi"]
        X[nominal] = X[nominal].fillna("")
        encode = ColumnTransformer([("nominal", OneHotEncoder(handle_unknown="ignore"), nominal)], remainder="passthrough")
        model = XGBClassifier(n_estimators=int(os.environ["BENCH_TREES"]), n_jobs=1, tree_method="hist")
        joblib.dump(Pipeline([("encode", encode), ("model", model)]).fit(X, y), path)
    pipeline: Pipeline = joblib.load(path)
    return pipeline


if __name__ == "__main__":
    fitted()

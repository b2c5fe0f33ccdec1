"""The peers' model as an MLflow model."""

import os
import shutil
from pathlib import Path

import mlflow.sklearn
from fit import fitted

target = Path(os.environ["BENCH_FOLDER"]) / "mlflow_model"
if not (target / "MLmodel").exists():
    shutil.rmtree(target, ignore_errors=True)
    mlflow.sklearn.save_model(fitted(), str(target), serialization_format="cloudpickle")

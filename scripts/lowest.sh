#!/usr/bin/env bash
# Tests with the oldest libraries that pyproject.toml allows:  scripts/lowest.sh [files and options for pytest]
# Needs uv. The environment is build/lowest/venv, made anew when the versions change.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$root"
folder=build/lowest
mkdir -p "$folder"

# Where the libraries meet: each one that users install is called by some of these. What calls none of them, or tests sporeprint's own
# (statistics, splits, guard, kills, many workers), is left to ./run_tests.sh.
tests=(
  # typer, rich, pydantic, ruamel.yaml
  tests/cli/test_models.py tests/cli/test_console.py tests/test_settings.py
  # polars, narwhals, pyarrow
  tests/ingestion/test_csv_reader.py tests/ingestion/test_parquet_reader.py tests/data/test_parquet_store.py tests/models/test_encoder.py
  # scikit-learn, xgboost, onnx, skl2onnx, onnxruntime, joblib
  tests/models/test_training.py tests/models/test_scorers.py tests/models/test_onnx_export.py tests/inference/test_sklearn_estimator.py
  # scipy, jinja2
  tests/evaluation/test_scorecard.py tests/reports/test_evaluation_charts.py tests/reports/test_evaluation_report.py
  # fastapi, uvicorn, httpx, orjson, prometheus-client
  tests/model_serving/test_api.py tests/model_serving/test_server.py
  # sqlalchemy, alembic, pymysql, duckdb
  tests/cli/test_db.py tests/storage/test_prediction_record.py tests/storage/warehouse/test_parquet_warehouse.py
  # apprise
  tests/pipelines/test_notifications.py
)

# Of the tools, the newest: only what users install is to be old.
uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --no-annotate --no-header pyproject.toml --extra all \
  -o "$folder/runtime.txt"
uv pip compile --quiet --python-version 3.11 --no-annotate --no-header pyproject.toml --extra all --extra dev -c "$folder/runtime.txt" \
  -o "$folder/requirements.txt"
if ! cmp --silent "$folder/requirements.txt" "$folder/venv/made-from.txt"; then
  uv venv --quiet --clear --python 3.11 "$folder/venv"
  uv pip install --quiet --python "$folder/venv/bin/python" -r "$folder/requirements.txt"
  uv pip install --quiet --python "$folder/venv/bin/python" --no-deps -e .
  cp -- "$folder/requirements.txt" "$folder/venv/made-from.txt"
fi
[[ $# -gt 0 ]] || set -- -m 'not slow' "${tests[@]}"
exec "$folder/venv/bin/python" -m pytest "$@"

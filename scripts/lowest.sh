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
  tests/test_cli_models.py tests/test_console.py tests/test_settings.py
  # polars, narwhals, pyarrow
  tests/test_csv_reader.py tests/test_parquet_reader.py tests/test_tables.py tests/test_transform.py
  # scikit-learn, xgboost, onnx, skl2onnx, onnxruntime, joblib
  tests/test_train.py tests/test_scorer.py tests/test_onnx_graph.py tests/test_estimator.py
  # scipy, matplotlib, jinja2
  tests/test_evaluate.py tests/test_plots.py tests/test_report.py
  # fastapi, uvicorn, httpx, orjson, prometheus-client
  tests/model_serving/test_api.py tests/model_serving/test_server.py
  # sqlalchemy, alembic, pymysql, duckdb
  tests/test_cli_db.py tests/storage/test_prediction.py tests/storage/test_warehouse_parquet.py
  # apprise
  tests/test_delivery.py
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

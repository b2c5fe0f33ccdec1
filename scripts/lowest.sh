#!/usr/bin/env bash
# The fast tests with the oldest libraries that pyproject.toml allows:  scripts/lowest.sh [options of pytest]
# Needs uv. The environment is build/lowest/venv, made anew when the versions change.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$root"
folder=build/lowest
mkdir -p "$folder"

# Of the tools, the newest: only what users install is to be old.
uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --no-annotate --no-header pyproject.toml --extra all --extra alerts \
  -o "$folder/runtime.txt"
uv pip compile --quiet --python-version 3.11 --no-annotate --no-header pyproject.toml --extra all --extra dev -c "$folder/runtime.txt" \
  -o "$folder/requirements.txt"
if ! cmp --silent "$folder/requirements.txt" "$folder/venv/made-from.txt"; then
  uv venv --quiet --clear --python 3.11 "$folder/venv"
  uv pip install --quiet --python "$folder/venv/bin/python" -r "$folder/requirements.txt"
  uv pip install --quiet --python "$folder/venv/bin/python" --no-deps -e .
  cp -- "$folder/requirements.txt" "$folder/venv/made-from.txt"
fi
exec "$folder/venv/bin/python" -m pytest -m 'not slow' "$@"

#!/usr/bin/env bash
# The tests with other Pythons:  scripts/pythons.sh 3.12 3.13 [-- options of pytest]
# Needs uv, which brings a Python that is not here. The environments are build/pythons/VERSION, made anew when the lock changes.
# Tests in a browser, in Airflow, with Spark and with other clients run where ./run_tests.sh would run them.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"
cd -- "$root"
ensure_uv

versions=()
while [[ $# -gt 0 && $1 != -- ]]; do
  versions+=("$1")
  shift
done
[[ $# -eq 0 ]] || shift
[[ ${#versions[@]} -gt 0 ]] || versions=(3.11 3.12 3.13 3.14)
offer_data "$root"
unset PYTHONDONTWRITEBYTECODE
for version in "${versions[@]}"; do
  venv=build/pythons/$version
  if ! cmp --silent requirements-dev.txt "$venv/made-from.txt"; then
    say "set-up: $venv"
    uv venv --quiet --clear --python "$version" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --require-hashes -r requirements-dev.txt
    uv pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e .
    cp -- requirements-dev.txt "$venv/made-from.txt"
  fi
  say "tests with $("$venv/bin/python" -V)"
  PATH="$root/$venv/bin:$PATH" "$venv/bin/python" -m pytest -n "$(getconf _NPROCESSORS_ONLN)" --dist loadfile --no-loadscope-reorder "$@"
done

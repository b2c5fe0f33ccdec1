#!/usr/bin/env bash
# Airflow on this machine, with the DAGs of this project:  ./scripts/airflow_dev.sh [--setup]
# Sets up .venv (sporeprint) and .venv-airflow (the pinned Airflow) where they are missing or their requirements changed,
# then starts `airflow standalone`; its first lines say where the password is. --setup: only the environments.
# Airflow's database, logs and password lie in .airflow/, which can be removed; AIRFLOW_HOME names another place.
# AIRFLOW__API__PORT is the port, 8080 unless it is set.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"

case "${1:-}" in '' | --setup) ;; *) fail "$1 is no option; there is --setup" ;; esac
ensure_venv runtime
ensure_side_venv airflow
[[ ${1:-} != --setup ]] || exit 0

export AIRFLOW_HOME="${AIRFLOW_HOME:-$root/.airflow}"
export AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
# This machine only: whoever can start a DAG can read and write what you can.
export AIRFLOW__API__HOST="${AIRFLOW__API__HOST:-127.0.0.1}"
port=${AIRFLOW__API__PORT:-8080}
export AIRFLOW__API__PORT="$port" AIRFLOW__API__BASE_URL="${AIRFLOW__API__BASE_URL:-http://localhost:$port}"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="${AIRFLOW__CORE__EXECUTION_API_SERVER_URL:-http://localhost:$port/execution/}"
export PATH="$root/.venv-airflow/bin:$PATH" # standalone starts `airflow` by its name
offer_data "$root"
say "airflow: http://localhost:$port, user admin, password in $AIRFLOW_HOME/simple_auth_manager_passwords.json.generated"
exec airflow standalone

#!/usr/bin/env bash
# Airflow on this machine, with the DAGs of this project:  ./scripts/airflow_dev.sh [--setup]
# Sets up .venv (sporeprint) and .venv-airflow (the pinned Airflow) where they are missing or their requirements changed,
# then starts `airflow standalone`; its first lines say where the password is. --setup: only the environments.
# Airflow's database, logs and password lie in .airflow/, which can be removed; AIRFLOW_HOME names another place.
# AIRFLOW__API__PORT is the port, 8080 unless it is set.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"

# Everything else is as in setup.sh: a stamp that goes last, and a lock that the kernel lets go of.
ensure_airflow() {
  local venv="$root/.venv-airflow" requirements="$root/scripts/airflow-requirements.txt" sums python='' uv=''
  sums=$(cd -- "$root" && { sha256sum "${requirements#"$root/"}" 2>/dev/null || shasum -a 256 "${requirements#"$root/"}"; })
  airflow_fits "$sums" && return
  uv=$(command -v uv || true)
  find_python || fail "$(no_python)"
  exec 9<"$requirements"
  "$python" -c "$lock_program" >&2
  if ! airflow_fits "$sums"; then
    say "set-up: .venv-airflow from scripts/airflow-requirements.txt, every file checked against its sha256"
    [[ ! -e $venv || -e $venv/pyvenv.cfg || -e $venv/.sporeprint-setup || -z $(ls -A -- "$venv") ]] ||
      fail "$venv is there, but it is not a virtual environment; move it away and start again"
    rm -rf -- "$venv"
    if [[ -n $uv ]]; then
      uv venv --quiet --python "$python" "$venv" >&2
      uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$requirements" >&2
    else
      "$python" -m venv "$venv" >&2
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements" >&2
    fi
    printf '%s\n' "$root" "$sums" >"$venv/.sporeprint-setup"
  fi
  exec 9<&-
}

airflow_fits() {
  local stamp="$root/.venv-airflow/.sporeprint-setup" text
  [[ -r $stamp && -x $root/.venv-airflow/bin/python ]] || return 1
  text=$(<"$stamp")
  [[ $text == "$root"$'\n'"$1" ]]
}

case "${1:-}" in '' | --setup) ;; *) fail "$1 is no option; there is --setup" ;; esac
ensure_venv runtime
ensure_airflow
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

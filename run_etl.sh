#!/usr/bin/env bash
# From the raw table to registered, evaluated models:  ./run_etl.sh [options of `sporeprint etl`]
# Sets up .venv first where it is missing or the requirements changed. Results go below this folder, unless --workdir
# says otherwise; relative paths among the options are relative to where you are.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/scripts/setup.sh"

export SPOREPRINT_CONFIG="${SPOREPRINT_CONFIG:-$root/config/config.yaml}"
export SPOREPRINT_WORKDIR="${SPOREPRINT_WORKDIR:-$root}"

ensure_venv runtime

# The mushroom tables are only of use to the configuration that comes with the project and names no other source.
workdir=$SPOREPRINT_WORKDIR wanted=true previous=''
for argument in "$@"; do
  [[ $previous != --workdir ]] || workdir=$argument
  case $argument in
    --workdir=*) workdir=${argument#*=} ;;
    --source | --source=* | --config | --config=* | --help | -h) wanted=false ;;
  esac
  previous=$argument
done
[[ $wanted == false || $SPOREPRINT_CONFIG != "$root/config/config.yaml" ]] || offer_data "$workdir"

exec "$root/.venv/bin/sporeprint" etl "$@"

#!/usr/bin/env bash
# The registered models over HTTP:  ./run_api.sh [port] [options of `sporeprint serve`]
# Sets up .venv first where it is missing or the requirements changed. Models are looked for below this folder, unless --workdir
# says otherwise; relative paths among the options are relative to where you are.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/scripts/setup.sh"

export SPOREPRINT_CONFIG="${SPOREPRINT_CONFIG:-$root/config/config.yaml}"
export SPOREPRINT_WORKDIR="${SPOREPRINT_WORKDIR:-$root}"

ensure_venv runtime

if [[ ${1-} =~ ^[0-9]+$ ]]; then
  set -- --port "$@"
fi
exec "$root/.venv/bin/sporeprint" serve "$@"

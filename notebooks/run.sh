#!/usr/bin/env bash
# Runs the notebooks from top to bottom and stores what they show in them:  notebooks/run.sh
# Sets up .venv first, as run_etl.sh does, and adds what notebooks need. They show the run of this folder, which is made where there is none.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"

ensure_venv runtime
ensure_on_top notebook
[[ -f $root/models/metrics/report.html ]] || SPOREPRINT_WORKDIR=$root "$root/run_etl.sh"
export SPOREPRINT_WORKDIR=$root
exec "$root/.venv/bin/python" "$root/notebooks/render.py" run

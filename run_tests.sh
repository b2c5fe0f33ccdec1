#!/usr/bin/env bash
# The tests:  ./run_tests.sh [options of pytest; paths are relative to the project's folder]
# Tests on the real table run where data/raw/secondary_data.csv is; without it they are left out, and the last lines
# say how many. REQUIRE_REAL_DATA=1 makes them fail instead. The same holds for tests on a real MariaDB, a real Prometheus, in a real
# browser and with a clock that jumps, where those programs are (on Debian and Ubuntu: apt install mariadb-server prometheus chromium
# faketime), with REQUIRE_SERVICES=1, and for tests in a real Airflow, where .venv-airflow
# is (scripts/airflow_dev.sh --setup), with REQUIRE_AIRFLOW=1, for tests with clients of other projects, where .venv-clients is, with
# REQUIRE_CLIENTS=1, and for tests on a cluster, where .venv-cluster is, with REQUIRE_CLUSTER=1; these three also set them up.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/scripts/setup.sh"

# The tests start some hundred programs, and each would compile its imports anew.
unset PYTHONDONTWRITEBYTECODE
ensure_venv dev
# Beside the first tests; whoever needs it waits for it (tests/conftest.py).
for name in AIRFLOW CLIENTS CLUSTER; do
  required=REQUIRE_$name
  [[ ${!required:-} != 1 ]] || ensure_side_venv "$(tr '[:upper:]' '[:lower:]' <<<"$name")" &
done
offer_data "$root"
cd -- "$root"
# One process more than there are processors, because many tests wait for a program that they started. A file's tests stay
# together, in the order of the files; `-n 0` is one process, in which a debugger works.
exec .venv/bin/python -m pytest -n "$(($(getconf _NPROCESSORS_ONLN) + 1))" --dist loadfile --no-loadscope-reorder "$@"

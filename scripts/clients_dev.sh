#!/usr/bin/env bash
# .venv-clients: MLflow, KServe's and Triton's clients, pinned, for the tests that hold sporeprint against them:  ./scripts/clients_dev.sh --setup
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"

case "${1:-}" in '' | --setup) ;; *) fail "$1 is no option; there is --setup" ;; esac
ensure_side_venv clients

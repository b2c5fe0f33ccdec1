#!/usr/bin/env bash
# .venv-cluster: Spark and an S3 server, pinned, for the tests with a real cluster and a real object store:  ./scripts/cluster_dev.sh --setup
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"

case "${1:-}" in '' | --setup) ;; *) fail "$1 is no option; there is --setup" ;; esac
ensure_side_venv cluster

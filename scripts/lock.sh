#!/usr/bin/env bash
# Writes, every file with its sha256: requirements.txt (all that a user can need: the extra `all`), requirements-dev.txt (that, and the tools),
# docker/requirements-api.txt (what a server needs), from pyproject.toml; and, from their .in, the requirements of Airflow, of the clients, of the cluster, of the notebooks and of uv in scripts/. Run it after a change
# of the dependencies; `scripts/lock.sh --upgrade` also takes newer versions.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# What builds the project is locked with the rest, so that a set-up fetches nothing that is not. One version of a package
# for every Python (fewest), so that a model means the same whichever Python reads it.
lock() {
  printf '%s\n' 'hatchling>=1.27' 'editables>=0.5' |
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
      --no-annotate --custom-compile-command scripts/lock.sh "$@" pyproject.toml -
}
lock "$@" --extra all -o requirements.txt
lock "$@" --extra all --extra dev -c requirements.txt -o requirements-dev.txt
lock "$@" --extra serve -c requirements.txt -o docker/requirements-api.txt

# These live in environments of their own, so their locks know nothing of the others; but for the notebooks', which come on top of requirements.txt.
for name in airflow clients cluster notebook uv; do
  uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command scripts/lock.sh "$@" "scripts/$name-requirements.in" -o "scripts/$name-requirements.txt"
done

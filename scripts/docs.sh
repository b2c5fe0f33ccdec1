#!/usr/bin/env bash
# The documentation as a site, build/docs/site:  scripts/docs.sh
# Any warning, such as a link to nowhere, is an error.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"

ensure_venv dev
cd -- "$root"
.venv/bin/python scripts/docs/make.py build/docs
exec .venv/bin/zensical build --strict --clean --config-file build/docs/mkdocs.yml

# Sourced by .ci/run: what some tests start for themselves, on a machine that does not have it. Needs root or sudo, and apt.
# shellcheck shell=bash

# ensure_services: afterwards mariadbd, strace and faketime are installed, and only that: the tests start their own, elsewhere.
ensure_services() {
  local as_root=()
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v mariadbd >/dev/null && command -v strace >/dev/null && command -v faketime >/dev/null &&
    return
  ((EUID == 0)) || as_root=(sudo --non-interactive)
  printf 'services: installing mariadb-server, strace and faketime\n' >&2
  "${as_root[@]}" apt-get update --quiet >&2
  # No question may wait for an answer.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends mariadb-server strace faketime >&2
}

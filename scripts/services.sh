# Sourced by .ci/run: what some tests start for themselves, on a machine that does not have it. Needs root or sudo, and apt.
# shellcheck shell=bash

# ensure_services: afterwards these programs are installed, and only that: the tests start their own, elsewhere.
ensure_services() {
  local as_root=() absent=() entry
  # Program, and the package of Debian and Ubuntu that has it.
  for entry in mariadbd:mariadb-server strace:strace faketime:faketime prometheus:prometheus chromium:chromium java:openjdk-17-jre-headless; do
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "${entry%%:*}" >/dev/null || absent+=("${entry##*:}")
  done
  ((${#absent[@]})) || return 0
  ((EUID == 0)) || as_root=(sudo --non-interactive)
  printf 'services: installing %s\n' "${absent[*]}" >&2
  "${as_root[@]}" apt-get update --quiet >&2
  # No question may wait for an answer.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${absent[@]}" >&2
}

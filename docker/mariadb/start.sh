#!/usr/bin/env bash
# start.sh COMMAND ...: runs the command, unless a password in the environment is missing or one of docker/.env.example.
# Before the image's own start, because that makes the database with whatever it is given, and only once.
set -euo pipefail

refused=()
for name in $(compgen -e); do
  [[ $name == *_PASSWORD ]] || continue
  [[ -n ${!name} && ${!name,,} != change-me* ]] || refused+=("$name")
done
if ((${#refused[@]})); then
  printf 'error: placeholder or no password in %s; set one of your own in docker/.env, for example from: openssl rand -hex 24\n' \
    "${refused[*]}" >&2
  exit 78
fi
exec "$@"

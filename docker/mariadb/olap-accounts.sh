#!/usr/bin/env bash
# The accounts of the OLAP database. The image runs it when the volume is new. Run it again after a change of passwords:
#   docker compose -f docker/docker-compose.yml exec olap bash /docker-entrypoint-initdb.d/accounts.sh
set -euo pipefail

database=${MARIADB_DATABASE:?}
: "${OLAP_LOADER_PASSWORD:?}" "${OLAP_REPORT_PASSWORD:?}"
# In the environment of the client, not among its arguments: those stand in the process list.
export MYSQL_PWD=${MARIADB_ROOT_PASSWORD:?}

quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\'\'}"
}

account() {
  echo "CREATE USER IF NOT EXISTS $1@'%';"
  echo "ALTER USER $1@'%' IDENTIFIED BY $(quoted "$2");"
  echo "REVOKE ALL PRIVILEGES, GRANT OPTION FROM $1@'%';"
}

{
  account sporeprint_loader "$OLAP_LOADER_PASSWORD"
  echo "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, CREATE TEMPORARY TABLES, CREATE VIEW"
  echo "  ON \`$database\`.* TO sporeprint_loader@'%';"
  account sporeprint_report "$OLAP_REPORT_PASSWORD"
  echo "GRANT SELECT ON \`$database\`.* TO sporeprint_report@'%';"
} | mariadb --user=root

#!/usr/bin/env bash
# The accounts of the OLTP database, and no right more than each of them needs. The image runs it when the volume is new.
# Run it again after a change of passwords or an upgrade of sporeprint; it says all that holds, so nothing older stays:
#   docker compose -f docker/docker-compose.yml exec oltp bash /docker-entrypoint-initdb.d/accounts.sh
set -euo pipefail

database=${MARIADB_DATABASE:?}
: "${OLTP_OWNER_PASSWORD:?}" "${OLTP_API_PASSWORD:?}" "${OLTP_REPORT_PASSWORD:?}"
# In the environment of the client, not among its arguments: those stand in the process list.
export MYSQL_PWD=${MARIADB_ROOT_PASSWORD:?}

# What gets rows, and what of it is changed later. No prediction is, and no outcome.
written=(prediction batch outcome ab_test ab_event ab_unit ab_total ab_interim_analysis ab_lease checkpoint audit alert alert_event alert_delivery pipeline_run run_metric monitor_evaluation)
changed=(ab_test ab_unit ab_total ab_interim_analysis ab_lease checkpoint alert alert_delivery pipeline_run monitor_evaluation)

quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\'\'}"
}

account() {
  echo "CREATE USER IF NOT EXISTS $1@'%';"
  echo "ALTER USER $1@'%' IDENTIFIED BY $(quoted "$2");"
  echo "REVOKE ALL PRIVILEGES, GRANT OPTION FROM $1@'%';"
}

# may ACCOUNT RIGHTS TABLE...: also for tables that are not there yet, which takes the right to make them, for a moment.
may() {
  local account=$1 rights=$2 table
  for table in "${@:3}"; do
    echo "GRANT CREATE, $rights ON \`$database\`.\`$table\` TO $account@'%';"
    echo "REVOKE CREATE ON \`$database\`.\`$table\` FROM $account@'%';"
  done
}

{
  account sporeprint_owner "$OLTP_OWNER_PASSWORD"
  echo "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, LOCK TABLES ON \`$database\`.* TO sporeprint_owner@'%';"

  account sporeprint_api "$OLTP_API_PASSWORD"
  may sporeprint_api SELECT alembic_version api_key "${written[@]}"
  may sporeprint_api INSERT "${written[@]}"
  may sporeprint_api UPDATE "${changed[@]}"

  account sporeprint_report "$OLTP_REPORT_PASSWORD"
  may sporeprint_report SELECT alembic_version "${written[@]}"
} | mariadb --user=root

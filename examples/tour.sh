#!/usr/bin/env bash
# From a table to a decision, once around:  ./examples/tour.sh [FOLDER]
# Models are made from some of the species of the mushroom table and served; then species come that they have never seen. The monitor raises
# an alarm, a challenger is trained with the outcomes, runs in shadow mode, wins, and is promoted. Nothing is faked and nobody is asked.
# All of it lands in FOLDER, ./tour if it is left out, which is emptied first. A minute or two on two cores. TOUR_PORT: of the server.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"
ensure_venv runtime

tour=${1:-$PWD/tour} port=${TOUR_PORT:-8200} mark=.sporeprint-tour
if [[ -e $tour && ! -e $tour/$mark && -n $(ls -A -- "$tour" 2>/dev/null || echo file) ]]; then
  fail "$tour is there, and no tour made it: name another folder"
fi
rm -rf -- "$tour"
mkdir -p -- "$tour"
tour=$(CDPATH='' cd -- "$tour" && pwd -P)
touch -- "$tour/$mark"

export SPOREPRINT_CONFIG="$root/config/config.yaml" SPOREPRINT_WORKDIR="$tour"
# One in a hundred instead of one in a thousand: fewer species show less.
export SPOREPRINT_GUARD__ALPHA=0.01
# An alarm makes a challenger, and what the shadow test finds is acted on.
export SPOREPRINT_ALERTS__RULES='{"drift": {"metric": "alarms", "above": 0, "action": "retrain"}}'
export SPOREPRINT_ALERTS__CHANNELS='{"team": {"url_env": "TOUR_TEAM"}}'
export SPOREPRINT_AB_TESTING__AUTO_CONCLUDE=true SPOREPRINT_AB_TESTING__EVALUATE_EVERY_S=1
sporeprint=$root/.venv/bin/sporeprint python=$root/.venv/bin/python season=$root/examples/tour/season.py

started=()
leave() {
  local pid
  for pid in "${started[@]}"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}
trap leave EXIT
trap 'exit 130' INT TERM

step=0
tell() {
  step=$((step + 1))
  printf '\n\033[1m%d. %s\033[0m  (%d s)\n' "$step" "$1" "$SECONDS"
  shift
  [[ $# -eq 0 ]] || printf '   %s\n' "$@"
}

late() { fail "$1: waited for too long; see $tour/server.txt and $tour/logs"; }

SECONDS=0
tell 'The table' 'Of 173 species, 120 are known. The others come later.'
table=$root/data/raw/secondary_data.csv
[[ -r $table ]] || table=$root/../shared/data/secondary_data.csv
if [[ ! -r $table ]]; then
  say 'there is no table in data/raw: one is invented, and marked as SIMULATED wherever it goes'
  table=$tour/invented.csv
  "$sporeprint" simulate --out "$table" --quiet
fi
"$python" "$season" split "$table" "$tour"

tell 'Models' 'Checked, trained, evaluated on rows and on species they have not seen, registered. The best is in production.'
"$sporeprint" etl --source "$tour/known.csv" --json >"$tour/etl.json"
"$python" "$season" scores "$tour"

tell 'The service' 'It answers over HTTP, keeps every answer, and says "unknown" where it does not know.'
"$python" "$season" receive "$((port + 1))" "$tour/messages.txt" &
started+=($!)
export TOUR_TEAM="json://localhost:$((port + 1))"
"$sporeprint" serve --port "$port" 2>"$tour/server.txt" &
started+=($!)
"$python" "$season" ready "$port" 60 >/dev/null || late 'the server does not start'

tell 'Usual days' 'A thousand mushrooms of known species; a laboratory says later what they were.'
"$python" "$season" usual "$tour"
"$python" "$season" walk "$port" "$tour/usual.csv" 0 1000
"$sporeprint" monitor --rows 1000 --sync --quiet | head -n 1

tell 'New species' 'The season turns: 1,500 mushrooms of species that nobody has shown the model.'
"$python" "$season" walk "$port" "$tour/new.csv" 0 1500
code=0
"$sporeprint" monitor --rows 1000 --sync --quiet >"$tour/monitor.txt" || code=$?
[[ $code -eq 10 ]] || fail "the monitor ended with $code, and an alarm (10) was expected; see $tour/monitor.txt"
head -n 8 "$tour/monitor.txt"
say "   ... and $(grep -c ': ' "$tour/monitor.txt") lines in all"
for ((i = 0; i < 100; i++)); do [[ ! -s $tour/messages.txt ]] || break; sleep 0.3; done
[[ -s $tour/messages.txt ]] || late 'no message arrived'
printf '   message to the team: %s\n' "$(head -n 1 "$tour/messages.txt" | cut -c 1-150)"

tell 'A challenger' 'The alarm has started it: a version from the table and the outcomes. It passes the gate and runs in shadow mode beside production.'
test=$("$python" "$season" running "$port" 150) || late 'no challenger came'
"$sporeprint" ab-test show "$test" | sed -n '1,10p'

tell 'The shadow test' 'Both versions score every mushroom, the old one answers. The rule may be looked at all the time.'
begin=1500
while "$python" "$season" running "$port" 0 >/dev/null; do
  ((begin < 6000)) || fail "the test has not decided after $((begin - 1500)) mushrooms; see: sporeprint ab-test show $test --workdir $tour"
  "$python" "$season" walk "$port" "$tour/new.csv" "$begin" 250
  begin=$((begin + 250))
  sleep 2.5
done
"$python" "$season" promoted "$port" 60 "$test" >/dev/null || late 'the winner was not promoted'
"$sporeprint" ab-test show "$test" | grep -E '^(verdict|what follows)'

tell 'After it' 'The winner answers. What it knows by now, it says.'
"$python" "$season" walk "$port" "$tour/new.csv" "$begin" 500
"$sporeprint" models list
"$sporeprint" ab-test report "$test" --out "$tour/ab_test.html" --quiet >/dev/null

tell 'To look at'
printf '   %-28s %s\n' \
  'how good the models are' "$tour/models/metrics/report.html" \
  'what changed' "$tour/models/metrics/monitoring/latest.html" \
  'which version is better' "$tour/ab_test.html" \
  'what is known of a version' "$tour/models/registry/xgboost/v2/model_card.md"
printf '\n   sporeprint alerts list --workdir %s\n   rm -r %s     removes all of it\n' "$tour" "$tour"

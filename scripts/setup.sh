# Sourced by run_etl.sh, run_tests.sh and .ci/run; expects `root`, the project's folder. Everything it says goes to
# stderr: stdout belongs to the command that is started.
#
# .venv/.sporeprint-setup is the stamp. First line: what is installed ("incomplete" while a set-up is under way);
# second: the folder, because a virtual environment cannot be moved; then the sums of the files it was made from.
# shellcheck shell=bash disable=SC2154

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

# ensure_venv runtime|dev: afterwards .venv holds what the locked requirements say and the project itself.
ensure_venv() {
  local kind=$1 sums
  sums=$(sums_of requirements.txt requirements-dev.txt pyproject.toml scripts/setup.sh)
  stamp_fits "$kind" "$sums" && return
  local python='' uv=''
  uv=$(command -v uv || true)
  find_python || fail "$(no_python)"
  # A file of the project is the lock's handle: nothing is left lying about, and the kernel lets go of it when the
  # last process of the set-up ends, however it ends. Python takes it, because not every system has flock(1).
  exec 9<"$root/scripts/setup.sh"
  "$python" -c "$lock_program" >&2
  stamp_fits "$kind" "$sums" || make_venv "$kind" "$sums"
  exec 9<&-
}

# ensure_side_venv NAME: afterwards .venv-NAME holds what scripts/NAME-requirements.txt says, for programs that cannot share .venv.
# The stamp and the lock are as above.
ensure_side_venv() {
  local name=$1 sums python='' uv=''
  local venv="$root/.venv-$name" requirements="$root/scripts/$name-requirements.txt"
  sums=$(sums_of "scripts/$name-requirements.txt")
  side_venv_fits "$name" "$sums" && return
  uv=$(command -v uv || true)
  find_python || fail "$(no_python)"
  exec 9<"$requirements"
  "$python" -c "$lock_program" >&2
  if ! side_venv_fits "$name" "$sums"; then
    say "set-up: new .venv-$name"
    [[ ! -e $venv || -e $venv/pyvenv.cfg || -e $venv/.sporeprint-setup || -z $(ls -A -- "$venv") ]] ||
      fail "$venv is there, but it is not a virtual environment; move it away and start again"
    rm -rf -- "$venv"
    make_empty "$venv"
    fill "$venv" "$requirements"  # its programs compile what they import, a fraction
    printf '%s\n' "$root" "$sums" >"$venv/.sporeprint-setup"
  fi
  exec 9<&-
}

# ensure_on_top NAME: afterwards .venv, which is set up, also holds what scripts/NAME-requirements.txt says.
ensure_on_top() {
  local name=$1 sums python='' uv=''
  local stamp="$root/.venv/.sporeprint-$name" requirements="$root/scripts/$name-requirements.txt"
  sums=$(sums_of "scripts/$name-requirements.txt")
  [[ ! -r $stamp || $(<"$stamp") != "$sums" ]] || return 0
  uv=$(command -v uv || true)
  find_python || fail "$(no_python)"
  fill "$root/.venv" "$requirements" --compile-bytecode
  printf '%s\n' "$sums" >"$stamp"
}

# ensure_uv: afterwards there is a uv, which sets up in a fraction of pip's time. One of the project's own where the machine has none.
ensure_uv() {
  local python='' uv='' venv="$root/.venv-uv"
  ! command -v uv >/dev/null || return 0
  find_python || fail "$(no_python)"
  if [[ ! -x $venv/bin/uv ]]; then
    "$python" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$root/scripts/uv-requirements.txt" >&2
  fi
  # As patient as pip where a registry is slow.
  export PATH="$venv/bin:$PATH" UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
}

side_venv_fits() {
  local stamp="$root/.venv-$1/.sporeprint-setup" text
  [[ -r $stamp && -x $root/.venv-$1/bin/python ]] || return 1
  text=$(<"$stamp")
  [[ $text == "$root"$'\n'"$2" ]]
}

lock_program='
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("another set-up is under way in this folder: waiting for it")
    sys.stdout.flush()
    fcntl.flock(9, fcntl.LOCK_EX)
'

sums_of() (
  cd -- "$root" || exit
  if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
)

# Whether the stamp says that this kind (dev holds runtime) was made here, from these files, and its Python still runs.
stamp_fits() {
  local kind=$1 sums=$2 stamp="$root/.venv/.sporeprint-setup" text
  [[ -r $stamp && -x $root/.venv/bin/python ]] || return 1
  text=$(<"$stamp")
  [[ $text == "dev"$'\n'"$root"$'\n'"$sums" || $text == "$kind"$'\n'"$root"$'\n'"$sums" ]]
}

make_venv() {
  local kind=$1 sums=$2 venv="$root/.venv" requirements="$root/requirements.txt"
  [[ $kind == dev ]] && requirements="$root/requirements-dev.txt"
  local start=$SECONDS reason
  reason=$(why_anew)
  if [[ -n $reason ]]; then
    [[ ! -e $venv || -e $venv/pyvenv.cfg || -e $venv/.sporeprint-setup || -z $(ls -A -- "$venv") ]] ||
      fail "$venv is there, but it is not a virtual environment; move it away and start again"
    say "set-up: new .venv ($reason) with $("$python" -V 2>&1) at $python"
    [[ -d $venv ]] || rm -f -- "$venv" # a link to nowhere
    mkdir -p -- "$venv"
    echo incomplete >"$venv/.sporeprint-setup"
    # The stamp stays: what an interrupted removal leaves must still be known for what it is.
    find "$venv/" -mindepth 1 -maxdepth 1 ! -name .sporeprint-setup -exec rm -rf -- {} +
    make_empty "$venv"
  else
    say "set-up: bringing .venv up to date"
    echo incomplete >"$venv/.sporeprint-setup"
  fi
  # As pip does: otherwise, where Python may not write beside what it imports, every command compiles its imports anew.
  fill "$venv" "$requirements" --compile-bytecode
  install_project "$venv"
  # Last, and in one step: an interrupted set-up is never taken for a finished one.
  printf '%s\n' "$kind" "$root" "$sums" >"$venv/.sporeprint-setup.new"
  mv -- "$venv/.sporeprint-setup.new" "$venv/.sporeprint-setup"
  say "set-up: done in $((SECONDS - start)) s"
}

make_empty() {
  if [[ -n $uv ]]; then
    uv venv --quiet --allow-existing --python "$python" "$1" >&2
  else
    "$python" -m venv "$1" >&2
  fi
}

# Why .venv has to be made from nothing; empty where it can be brought up to date as it is.
why_anew() {
  local venv="$root/.venv" stamp="$root/.venv/.sporeprint-setup" state='' where=''
  [[ ! -r $stamp ]] || { read -r state && read -r where; } <"$stamp" || true
  if [[ ! -e $venv && ! -L $venv ]]; then
    echo 'there was none'
  elif [[ $state == incomplete ]]; then
    echo 'an earlier set-up was interrupted'
  elif [[ -n $where && $where != "$root" ]]; then
    echo 'the folder was moved or copied'
  elif ! is_new_enough "$venv/bin/python" >/dev/null; then
    echo 'its Python does not run or is too old'
  fi # No stamp, and a Python that runs: made by hand, kept.
}

# fill VENV REQUIREMENTS [OPTION OF UV...]: installs what a requirements file pins, and shows how far it is.
fill() {
  local venv=$1 requirements=$2
  shift 2
  say "set-up: installing ${requirements##*/}, every file checked against its sha256, with ${uv:-pip}"
  if [[ -n $uv ]]; then
    set -- "$uv" pip install "$@" --python "$venv/bin/python" --require-hashes -r "$requirements"
  else
    # An environment made by uv has no pip.
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >&2
    set -- "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r "$requirements"
  fi
  "$python" "$root/scripts/install_progress.py" "$venv" "$requirements" "$@" >&2
}

install_project() {
  if [[ -n $uv ]]; then
    uv pip install --quiet --python "$1/bin/python" --no-deps --no-build-isolation -e "$root" >&2
  else
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$root" >&2
  fi
}

# Prints what it is ("3.12.1 at /usr/bin/python3.12"); true where that is enough.
is_new_enough() {
  "$1" -c 'import os, sys
print("%d.%d.%d at %s" % (tuple(sys.version_info[:3]) + (os.path.realpath(sys.executable),)))
sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Sets `python` to the first Python that will do. Its real path, not a link or a shim whose meaning can change.
find_python() {
  local candidate found
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
    found=$(is_new_enough "$candidate") || continue
    python=${found#* at }
    [[ -n $uv ]] || "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
    return 0
  done
  python=''
  return 1
}

no_python() {
  local candidate found seen=''
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
    found=$(is_new_enough "$candidate") && found+=" (without its venv module; on Debian and Ubuntu: apt install python${found%.* at *}-venv)"
    [[ -z $found || $seen == *"$found"* ]] || seen+="${seen:+, }$found"
  done
  printf 'sporeprint needs Python 3.11 or newer; found: %s. ' "${seen:-no Python at all}"
  printf 'Install one (python3.13, python3.12, python3.11 and python3 are looked for), or name it: PYTHON=/path/to/python %s' "$0"
}

# offer_data WORKDIR: tables that lie beside the project (../shared/data) are copied to where they are looked for.
offer_data() {
  local workdir=$1 name from to
  for name in secondary_data.csv primary_data.csv; do
    from="$root/../shared/data/$name" to="$workdir/data/raw/$name"
    [[ -r $from && ! -e $to ]] || continue
    mkdir -p -- "$workdir/data/raw"
    # Renamed into place: a copy that was cut short is never taken for the table.
    cat -- "$from" >"$to.$$.tmp"
    mv -- "$to.$$.tmp" "$to"
    say "data: copied ../shared/data/$name to $to"
  done
}

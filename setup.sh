#!/usr/bin/env bash
# Makes a virtual environment with the packages of one lane. If it is up to date, this
# takes less than a second.
#
#   ./setup.sh          makes the environment
#   source setup.sh     makes it and activates it in this bash shell
#
# These variables are read from the environment; nothing has to be edited:
#   LANE               current (default; TensorFlow 2.21) or tfio (2.16 + tensorflow-io)
#   PYTHON             Python interpreter for a new environment
#   INSTALLER          pip (default), or uv, which takes a third of the time (pip if it fails)
#   ROOT_DIR           where runs are written; default: the folder runs beside this file
#   FUSS_ROOT_DIR      folder of the FUSS corpus, if there is one
#   YFCC100M_ROOT_DIR  folder of the YFCC100m clips, if there are any
#   MUSDB18_ROOT_DIR   folder of MUSDB18 or MUSDB18-HQ, if there is one
#   MOISESDB_ROOT_DIR  folder of MoisesDB, if there is one
#
# Sourcing exports LANE and ROOT_DIR (and the folders of corpora that are set) and
# activates .venv (current) or .venv-tfio (tfio). It changes no shell option, sets
# nothing else and never ends the shell that sources it, except for the scripts beside
# this file: it prints the comment at their top for --help, and requires that each
# variable in their list needed_folders is a folder.

if [ -z "${BASH_VERSION:-}" ]; then # zsh and dash read no further
  echo "setup.sh: this shell is not bash: run ./setup.sh, then '. .venv/bin/activate' (LANE=tfio: .venv-tfio)." >&2
  # shellcheck disable=SC2317 # Only a sourced file can return.
  return 1 2>/dev/null || exit 1
fi

_separation_help() { # script, its arguments; ends the script where they ask for help
  local word
  for word in "${@:2}"; do
    [[ "$word" == --help || "$word" == -h ]] || continue
    sed -n '1d;/^#/!q;s/^# \{0,1\}//p' "$1"
    exit
  done
}

_separation_begin() { # folder of this file, script that sources it, its arguments
  local name folder folders
  [[ -n "$2" && "$2" -ef "$1/${2##*/}" ]] || return 0
  _separation_help "$1/${2##*/}" "${@:3}"
  # shellcheck disable=SC2154 # The script that sources this file may set it.
  for name in ${needed_folders[@]+"${needed_folders[@]}"}; do
    folders=("${!name:-}")
    [[ "$name" != *_DIRS ]] || IFS=: read -ra folders <<<"${!name:-}"
    for folder in "${folders[@]:-}"; do
      [[ ! -d "$folder" ]] || continue
      echo "${2##*/}: $name=$folder is not a folder: set it as '${2##*/} --help' says." >&2
      exit 2
    done
  done
}

_separation_folder() { # lane
  if [[ "$1" == tfio ]]; then echo .venv-tfio; else echo .venv; fi
}

_separation_source() { # folder of this file
  # The work is done by this file executed: its options and exits stay with it.
  LANE="${LANE:-current}" PYTHON="${PYTHON:-}" bash "$1/setup.sh" || return 1
  export LANE="${LANE:-current}" ROOT_DIR="${ROOT_DIR:-$1/runs}"
  [[ -z "${FUSS_ROOT_DIR:-}" ]] || export FUSS_ROOT_DIR
  [[ -z "${YFCC100M_ROOT_DIR:-}" ]] || export YFCC100M_ROOT_DIR
  [[ -z "${MUSDB18_ROOT_DIR:-}" ]] || export MUSDB18_ROOT_DIR
  [[ -z "${MOISESDB_ROOT_DIR:-}" ]] || export MOISESDB_ROOT_DIR
  # shellcheck source=/dev/null
  source "$1/$(_separation_folder "$LANE")/bin/activate"
}

if (return 0 2>/dev/null); then
  # Links are followed, so that a link to a script in another folder works.
  _separation_begin "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")" \
    "$(realpath -- "${BASH_SOURCE[1]:-}" 2>/dev/null)" "$@"
  if _separation_source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")"
  then
    unset -f _separation_help _separation_begin _separation_source _separation_folder
    return 0
  else
    unset -f _separation_help _separation_begin _separation_source _separation_folder
    return 1
  fi
fi

set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
lane=${LANE:-current}
# A user's own Python settings must not decide what the environment holds.
unset PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX

say() { printf 'setup.sh: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

_separation_help "${BASH_SOURCE[0]}" "$@"
(($# == 0)) || fail "$1 is unknown: it takes no arguments, only the variables that --help lists."

apt_install() { # package; true only where it is installed afterwards
  [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null || return 1
  say "installing the Debian package $1"
  apt-get update </dev/null >/dev/null 2>&1 || true
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "$1" </dev/null >/dev/null 2>&1
}

choose_lane() {
  case "$lane" in
    current)
      pythons='3.10 to 3.13'
      extras='plots,web,docs,dev'
      ;;
    tfio)
      pythons='3.10 to 3.12'
      extras='tfio,plots,web,docs,dev'
      ;;
    *) fail "LANE=$lane is unknown: use LANE=current or LANE=tfio." ;;
  esac
  case "${INSTALLER:-pip}" in
    pip | uv) ;;
    *) fail "INSTALLER=$INSTALLER is unknown: use INSTALLER=pip or INSTALLER=uv." ;;
  esac
  # TensorFlow's wheel holds no CUDA; NVIDIA's packages come from PyPI as well.
  if nvidia-smi -L 2>/dev/null | grep GPU >/dev/null; then extras+=',gpu'; fi
  constraints="$repo/constraints/$lane.txt"
  venv="$repo/$(_separation_folder "$lane")"
  stamp="$venv/.ready"
  made_here="$venv/.made-by-setup.sh"
}

fingerprint() { # changes with the requirements, and when the folder was moved
  {
    cat -- "$repo/setup.py" "$constraints"
    printf '%s\n' "$repo" "$extras"
  } | cksum
}

is_ready() {
  [[ -f "$stamp" && "$(cat -- "$stamp")" == "$(fingerprint)" ]] &&
    "$venv/bin/python" -c '' 2>/dev/null
}

version_of() { # interpreter
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

suits() { # version
  case "$lane:$1" in
    current:3.1[0-3] | tfio:3.1[0-2]) return 0 ;;
    *) return 1 ;;
  esac
}

find_python() { # sets python and version
  local found
  if [[ -n "${PYTHON:-}" ]]; then
    python=$PYTHON
    version=$(version_of "$python") ||
      fail "PYTHON=$PYTHON does not run: name a Python $pythons, as in PYTHON=python3.11."
    suits "$version" ||
      fail "LANE=$lane needs Python $pythons, and PYTHON=$PYTHON is $version: name another one."
    return
  fi
  for python in python3 python3.11 python3.12 python3.10 python3.13; do
    found=$(version_of "$python") || continue
    if suits "$found"; then
      version=$found
      return
    fi
  done
  found=$(version_of python3) || found=missing
  fail "LANE=$lane needs Python $pythons, and python3 is $found: install one and name it, as in PYTHON=python3.11."
}

need_venv_module() {
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  if apt_install python3-venv && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    return
  fi
  fail "Python $version ($python) has no venv module: run 'apt-get install python3-venv' as root (for a Python that is not Debian's own: python$version-venv) and start again."
}

need_ffmpeg() { # without it wav, flac, ogg and mp3 still work
  command -v ffmpeg >/dev/null && return
  if [[ "${1:-}" == install ]] && apt_install ffmpeg && command -v ffmpeg >/dev/null; then
    return
  fi
  say "ffmpeg is not installed, so m4a, mp4, aac, wma and museval will not work: run 'apt-get install ffmpeg' as root."
}

make_environment() {
  if [[ -e "$venv" && ! -f "$made_here" ]]; then
    fail "$venv exists and setup.sh did not make it: move or delete it, then start again."
  fi
  if [[ -f "$stamp" ]] && "$venv/bin/python" -c '' 2>/dev/null; then
    rm -f -- "$stamp" # the requirements changed: pip brings it up to date
    return
  fi
  rm -rf -- "$venv" # an interrupted install may hold half a package
  find_python
  need_venv_module
  say "making $venv with Python $version"
  if ! { mkdir -- "$venv" && : >"$made_here" && "$python" -m venv "$venv"; }; then
    fail "Python $version could not make $venv: see the lines above."
  fi
}

install_by_uv() {
  local uv=("$venv/bin/python" -m uv pip install --python "$venv/bin/python")
  if [[ -n "${PIP_INDEX_URL:-}" ]]; then uv+=(--default-index "$PIP_INDEX_URL"); fi
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input uv &&
    (cd -- "$repo" && "${uv[@]}" -c "$constraints" -e ".[$extras]")
}

install_packages() {
  local log="$venv/install.log"
  say "installing the packages of LANE=$lane (about 2 GB, some minutes); log: $log"
  if [[ "${INSTALLER:-pip}" == uv ]]; then
    if install_by_uv >"$log" 2>&1; then return; fi
    say "uv could not install the packages of LANE=$lane ($(tail -n 1 -- "$log")): trying pip"
  fi
  if (cd -- "$repo" && "$venv/bin/python" -m pip install --disable-pip-version-check \
    --no-input -c "$constraints" -e ".[$extras]") 2>&1 | tee -- "$log" |
    awk '/^(Collecting|Installing collected)/ { print "  " substr($0, 1, 74); fflush() }' >&2
  then
    return
  fi
  if grep -qE 'No space left on device' "$log"; then
    fail "the disk is full: free about 5 GB for $venv and start again (log: $log)."
  elif grep -qE 'Max retries|NewConnectionError|ConnectionError|Temporary failure|ProxyError|ReadTimeout|from versions: none' "$log"; then
    fail "pip cannot reach its package index: connect to the network or set PIP_INDEX_URL to a mirror, then start again (log: $log)."
  fi
  tail -n 12 -- "$log" >&2
  fail "pip could not install the packages of LANE=$lane, for the reason above: clear it and start again (log: $log)."
}

one_at_a_time() { # the repository folder itself is the lock
  command -v flock >/dev/null || return 0
  exec 9<"$repo"
  flock -n 9 && return
  say 'another setup.sh is running here: waiting for it'
  flock 9
}

main() {
  choose_lane
  if is_ready; then
    need_ffmpeg
    return
  fi
  one_at_a_time
  if is_ready; then return; fi
  make_environment
  need_ffmpeg install
  install_packages
  fingerprint >"$stamp.new"
  mv -f -- "$stamp.new" "$stamp"
  say "$venv is ready"
}

main

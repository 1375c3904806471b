#!/usr/bin/env bash
# Runs every comparison of speed and memory on this machine into benchmarks/RESULTS.md.
#
#   benchmarks/run.sh            hours
#   benchmarks/run.sh --quick    small sizes, about 15 minutes on two quiet cores
#
# The environments of the other programs are made in PEERS_DIR (default: .venv-peers beside
# setup.sh); GOOGLE_DIR is a clone of google-research/sound-separation, made there unless
# it is set. The results list what cannot be installed or fails. OUTPUT is the folder for
# the figures of each benchmark; finished ones are not repeated. The active environment is
# used, else that of setup.sh.
set -uo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
case "$*" in
  '' | --quick) ;;
  -h | --help)
    sed -n '1d;/^#/!q;s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit
    ;;
  *)
    echo "run.sh: $* is unknown: expected --quick or nothing." >&2
    exit 2
    ;;
esac
# shellcheck source=setup.sh
[[ -n "${VIRTUAL_ENV:-}" ]] || source "$repo/setup.sh" || exit 1
export PYTHONPATH=$repo TF_CPP_MIN_LOG_LEVEL=3
peers=${PEERS_DIR:-$repo/.venv-peers}
google=${GOOGLE_DIR:-$peers/sound-separation}
out=${OUTPUT:-${ROOT_DIR:-$repo/runs}/benchmarks/$(date +%Y-%m-%d_%H-%M-%S)}
mkdir -p "$peers" "$out"
python "$repo/benchmarks/peer_environments.py" "$peers" "$out" || exit 1
[[ -d $google/models ]] ||
  git clone -q https://github.com/google-research/sound-separation "$google" ||
  echo "the source of Google's program cannot be cloned" >"$out/google.missing"
python "$repo/benchmarks/results.py" "$out" --list | while read -r name peer; do
  words=("$@")
  [[ $peer == none ]] || words+=(--python "$peers/$peer/bin/python")
  [[ $peer != google ]] || words+=(--source "$google")
  if [[ -e $out/$name.done ]]; then continue; fi
  rm -f "$out/$name".{jsonl,failed}
  if [[ -e $out/$peer.missing ]]; then cp "$out/$peer.missing" "$out/$name.failed"; continue; fi
  echo "$name" >&2
  if BENCHMARK_RECORD=$out/$name.jsonl python "$repo/benchmarks/$name.py" "${words[@]}" \
    </dev/null >"$out/$name.md" 2>"$out/$name.log"; then
    touch "$out/$name.done"
  else tail -n 1 "$out/$name.log" >"$out/$name.failed"; fi
done
python "$repo/benchmarks/results.py" "$out" "$@"

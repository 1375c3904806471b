#!/usr/bin/env bash
# Trains the separation of singing on MUSDB18, first by its sources alone and then with the
# unpaired songs of MoisesDB as well; scores both, and separates a song.
#
#   MUSDB18_ROOT_DIR=/data/musdb18hq MOISESDB_ROOT_DIR=/data/moisesdb \
#     ./run_train_model_on_musdb18_and_moisesdb.sh            the published setting
#   MUSDB18_ROOT_DIR=/data/musdb18 ./run_train_model_on_musdb18_and_moisesdb.sh
#                                                             supervised only
#   ./run_train_model_on_musdb18_and_moisesdb.sh              some minutes, no data
#   ./run_train_model_on_musdb18_and_moisesdb.sh museval alpha=0.01
#                                                 another preset, and changes of it
#   RUN_DIR=runs/adversarial/musdb18_and_moisesdb/2030-01-31_12-00-00 \
#     ./run_train_model_on_musdb18_and_moisesdb.sh            goes on with that run
#   ./run_train_model_on_musdb18_and_moisesdb.sh --check      two steps, then stop
#
# Other arguments go to `python -m adversarial.train`. SONG names the song that is separated
# in the end, by default the first of the test. See setup.sh for the variables it reads.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1

say() { printf '%s\n' "$*"; }
again=$(printf ' %q' "$repo/run_train_model_on_musdb18_and_moisesdb.sh" "$@")
for name in SONG MOISESDB_ROOT_DIR MUSDB18_ROOT_DIR; do
  if [[ -n "${!name:-}" ]]; then again=" $name=$(printf %q "${!name}")$again"; fi
done
if [[ "$LANE" != current ]]; then again=" LANE=$LANE$again"; fi

if ! python -c '
import tensorflow as tf

assert int(tf.reduce_sum(tf.ones([2, 2]))) == 4
gpus = len(tf.config.list_physical_devices("GPU"))
print(f"TensorFlow {tf.__version__} on " + (f"{gpus} GPU(s)" if gpus else "CPU"))
'; then
  say "TensorFlow cannot run an operation in $VIRTUAL_ENV: delete that folder and start again." >&2
  exit 1
fi

preset=
while [[ -n "${1:-}" && "$1" != -* && "$1" != *=* ]]; do
  case "$1" in
    with) ;;
    print_config | *.yml | *.yaml | *.json) break ;;
    *) preset=$1 ;;
  esac
  shift
done

run=${RUN_DIR:-$ROOT_DIR/adversarial/musdb18_and_moisesdb/$(date +%Y-%m-%d_%H-%M-%S)}
only_training=false
previous=
for argument in "$@"; do # what the arguments say goes before the environment
  case "$previous $argument" in
    *" output="* | *" --output="*) run=${argument#*=} ;;
    "--output "*) run=$argument ;;
    *" --check" | *" --help" | *" -h" | *" print_config") only_training=true ;;
  esac
  previous=$argument
done

words=(with)
if [[ -n "${MUSDB18_ROOT_DIR:-}" ]]; then
  words+=("${preset:-musdb_moisesdb}" "corpora.root=$MUSDB18_ROOT_DIR")
  say "Training on MUSDB18 in $MUSDB18_ROOT_DIR."
  if [[ -n "${MOISESDB_ROOT_DIR:-}" ]]; then
    words+=("corpora.unpaired_root=$MOISESDB_ROOT_DIR")
    say "Unpaired songs from MoisesDB in $MOISESDB_ROOT_DIR."
  else
    words+=(corpora.unpaired=none)
    say "MOISESDB_ROOT_DIR is not set: there are no unpaired songs, so this is supervised only."
  fi
elif [[ -n "${MOISESDB_ROOT_DIR:-}" ]]; then
  say "MOISESDB_ROOT_DIR is set and MUSDB18_ROOT_DIR is not; set it to the folder of MUSDB18," >&2
  say "whose songs have their sources, or unset both to train on a miniature." >&2
  exit 1
else
  words+=("${preset:-tiny}")
  if [[ "${preset:-tiny}" == tiny* ]]; then
    say "MUSDB18_ROOT_DIR is not set: this trains on miniatures of synthetic music, made here in the"
    say "layouts of MUSDB18 and MoisesDB. Their numbers show that the program works, and no more."
  fi
fi

say "Run folder: $run"
say "Stopped at any time, this goes on from the last checkpoint:"
say "  RUN_DIR=$(printf %q "$run")$again"
python -m adversarial.train "${words[@]}" "$@" "output=$run"
if "$only_training"; then exit 0; fi

python -m adversarial.evaluate "$run"
phase=sup
if [[ -d "$run/semisup" ]]; then phase=semisup; fi
song=${SONG:-$(python -c '
import sys

from adversarial import data, lists, runs
from common.corpora import waveforms

songs = data.read_lists(runs.config(runs.locate(sys.argv[1]))).test
print(waveforms.files(lists.mixture(songs[0]))[0])
' "$run" | tail -n 1)}
python -m adversarial.separate "$song" --model "$run" --output "$run/separated" --overwrite

say ""
say "Weights and configuration  $run/$phase"
say "Scores                     $run/$phase/evaluation/summary.md"
say "A song, separated          $run/separated"
say "Curves                     tensorboard --logdir=$(printf %q "$run")"
say "Separate a file            python -m adversarial.separate FILE --model $(printf %q "$run") --output FOLDER"
say "(the last two in a shell that has said: source $(printf %q "$repo/setup.sh"))"

#!/usr/bin/env bash
# Trains MixIT on FUSS, evaluates it, separates one held-out mixture and draws it.
#
#   FUSS_ROOT_DIR=/data/fuss ./run_train_model_on_fuss.sh     the published preset
#   ./run_train_model_on_fuss.sh                              a few minutes, no data
#   ./run_train_model_on_fuss.sh batch_size=4 epochs=20       changes of the preset
#   ./run_train_model_on_fuss.sh tiny                         another preset, then changes
#   RUN_DIR=runs/mixit/fuss/2030-01-31_12-00-00 ./run_train_model_on_fuss.sh
#                                                             goes on with that run
#   ./run_train_model_on_fuss.sh --check                      two steps, then stop
#
# Arguments go to `python -m mixit.train`. See setup.sh for the variables it reads.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1

say() { printf '%s\n' "$*"; }
again=$(printf ' %q' "$repo/run_train_model_on_fuss.sh" "$@")
if [[ -n "${FUSS_ROOT_DIR:-}" ]]; then
  again=" FUSS_ROOT_DIR=$(printf %q "$FUSS_ROOT_DIR")$again"
fi
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

# The first word may name a preset; else the data decide.
preset=
if [[ "${1:-}" == with ]]; then shift; fi
if [[ "${1:-}" =~ ^[a-z][a-z0-9_]*$ && "$1" != print_config ]]; then
  preset=$1
  shift
fi

data=${FUSS_ROOT_DIR:-}
run=${RUN_DIR:-$ROOT_DIR/mixit/fuss/$(date +%Y-%m-%d_%H-%M-%S)}
only_training=false
previous=
for argument in "$@"; do # what the arguments say goes before the environment
  case "$previous $argument" in
    *" output="* | *" --output="*) run=${argument#*=} ;;
    "--output "*) run=$argument ;;
    *" data_root="* | *" --data"[_-]"root="*) data=${argument#*=} ;;
    "--data"[_-]"root "*) data=$argument ;;
    *" --check" | *" --help" | *" -h" | *" print_config") only_training=true ;;
  esac
  previous=$argument
done

if [[ -n "$data" ]]; then
  words=(with "${preset:-fuss}" "data_root=$data" "output=$run" "$@")
  say "Training on FUSS in $data."
else
  words=(with "${preset:-tiny}" "output=$run" "$@")
  if [[ "${preset:-tiny}" == tiny* ]]; then
    say "FUSS_ROOT_DIR is not set: this trains on a miniature corpus of synthetic sounds, made"
    say "here in the layout of FUSS. Its numbers show that the program works, and no more."
  fi
fi

say "Run folder: $run"
say "Stopped at any time, this goes on from the last checkpoint:"
say "  RUN_DIR=$(printf %q "$run")$again"
python -m mixit.train "${words[@]}"
if "$only_training"; then exit 0; fi

python -m mixit.evaluate --model "$run" --split eval --output "$run/evaluation" --draw 1

say ""
say "Weights and configuration  $run"
say "Scores                     $run/evaluation/summary.md"
for picture in "$run"/evaluation/*/picture.png; do
  say "One mixture, separated     ${picture%/*}"
  say "The same, drawn            $picture"
done
say "Curves, sounds, pictures   tensorboard --logdir=$(printf %q "$run")"
say "Separate a file            python -m mixit.separate FILE --model $(printf %q "$run") --output FOLDER"
say "(the last two in a shell that has said: source $(printf %q "$repo/setup.sh"))"

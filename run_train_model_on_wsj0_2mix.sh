#!/usr/bin/env bash
# Trains deep clustering, or another network, on mixtures of two speakers, and scores it.
#
#   ./run_train_model_on_wsj0_2mix.sh /data/wsj0-2mix         the published preset
#   WSJ0_2MIX_ROOT_DIR=/data/wsj0-2mix ./run_train_model_on_wsj0_2mix.sh      the same
#   WHAM_ROOT_DIR=/data/wham ./run_train_model_on_wsj0_2mix.sh task=mix_both
#                                                             on WHAM! instead
#   ./run_train_model_on_wsj0_2mix.sh                         some minutes, no data
#   ./run_train_model_on_wsj0_2mix.sh chimera /data/wsj0-2mix batch_size=16
#                                                 another preset, and changes of it
#   RUN_DIR=runs/clustering/wsj0_2mix/2030-01-31_12-00-00 ./run_train_model_on_wsj0_2mix.sh
#                                                             goes on with that run
#   ./run_train_model_on_wsj0_2mix.sh --check                 two steps, then stop
#
# Other arguments go to `python -m clustering.train`. See setup.sh for the variables it
# reads.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1

say() { printf '%s\n' "$*"; }
again=$(printf ' %q' "$repo/run_train_model_on_wsj0_2mix.sh" "$@")
for name in WHAM_ROOT_DIR WSJ0_2MIX_ROOT_DIR; do
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

dataset=wsj0_2mix
data=${WSJ0_2MIX_ROOT_DIR:-}
if [[ -n "${WHAM_ROOT_DIR:-}" ]]; then
  if [[ -n "$data" ]]; then
    say "WSJ0_2MIX_ROOT_DIR and WHAM_ROOT_DIR are both set; unset the one that is not meant." >&2
    exit 1
  fi
  dataset=wham
  data=$WHAM_ROOT_DIR
fi

# The first words may name the corpus (it has a slash, or is a folder) and a preset.
preset=
while [[ -n "${1:-}" && "$1" != -* && "$1" != *=* ]]; do
  case "$1" in
    with) ;;
    print_config) break ;;
    *.yml | *.yaml | *.json) break ;;
    */*) data=$1 ;;
    *) if [[ -d "$1" ]]; then data=$1; else preset=$1; fi ;;
  esac
  shift
done

run=${RUN_DIR:-$ROOT_DIR/clustering/$dataset/$(date +%Y-%m-%d_%H-%M-%S)}
only_training=false
previous=
for argument in "$@"; do # what the arguments say goes before the environment
  case "$previous $argument" in
    *" output="* | *" --output="*) run=${argument#*=} ;;
    "--output "*) run=$argument ;;
    *" root="* | *" --root="*) data=${argument#*=} ;;
    "--root "*) data=$argument ;;
    *" dataset="* | *" --dataset="*) dataset=${argument#*=} ;;
    "--dataset "*) dataset=$argument ;;
    *" --check" | *" --help" | *" -h" | *" print_config") only_training=true ;;
  esac
  previous=$argument
done

words=(with)
if [[ -n "$data" ]]; then
  # The rate that deep clustering was published at; the words after it may change it.
  words+=("${preset:-dpcl}" "dataset=$dataset" "root=$data" sample_rate=8000)
  say "Training on $dataset in $data."
else
  words+=("${preset:-tiny}" "dataset=$dataset")
  if [[ "${preset:-tiny}" == tiny* ]]; then
    say "No corpus is named, neither as first argument nor as WSJ0_2MIX_ROOT_DIR: this trains on a"
    say "miniature of synthetic speakers, made here in the layout of $dataset. Its numbers show that"
    say "the program works, and no more."
  fi
fi

say "Run folder: $run"
say "Stopped at any time, this goes on from the last checkpoint:"
say "  RUN_DIR=$(printf %q "$run")$again"
python -m clustering.train "${words[@]}" "$@" "output=$run"
if "$only_training"; then exit 0; fi

python -m clustering.evaluate "$run"

say ""
say "Weights and configuration  $run"
say "Scores                     $run/evaluation/summary.md"
say "Curves                     tensorboard --logdir=$(printf %q "$run")"
say "Compare with other runs    python -m clustering.analyze $(printf %q "$(dirname -- "$run")")"
say "Separate a file            python -m clustering.separate FILE --model $(printf %q "$run") --output FOLDER"
say "(the last three in a shell that has said: source $(printf %q "$repo/setup.sh"))"

#!/usr/bin/env bash
# Trains the four networks of Open-Unmix on MUSDB18 on all GPUs, and evaluates them.
#
#   ./run_train_model_on_musdb18.sh /data/musdb18hq         the published preset
#   MUSDB18_ROOT_DIR=/data/musdb18hq ./run_train_model_on_musdb18.sh       the same
#   ./run_train_model_on_musdb18.sh                         some minutes, no data
#   ./run_train_model_on_musdb18.sh previews                on previews of 7 seconds
#   ./run_train_model_on_musdb18.sh /data/musdb18hq --target vocals lr=5e-4
#                                                           changes of the preset
#   ./run_train_model_on_musdb18.sh /data/musdb18hq --seeds 4
#                               four times, with the seeds 42 to 45, and for each target
#                               the run of the lowest validation loss, as the authors did
#   RUN_DIR=runs/unmix/musdb18/2030-01-31_12-00-00 ./run_train_model_on_musdb18.sh
#                                                           goes on with that run
#   ./run_train_model_on_musdb18.sh --check                 two steps, then stop
#
# Other arguments go to `python -m unmix.train`. See setup.sh for the variables it reads.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1

say() { printf '%s\n' "$*"; }
again=$(printf ' %q' "$repo/run_train_model_on_musdb18.sh" "$@")
if [[ -n "${MUSDB18_ROOT_DIR:-}" ]]; then
  again=" MUSDB18_ROOT_DIR=$(printf %q "$MUSDB18_ROOT_DIR")$again"
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

# The first words may name the corpus and a preset; else the data decide.
preset=
data=${MUSDB18_ROOT_DIR:-${MUSDB_PATH:-}} # the latter is that of the original
while [[ -n "${1:-}" && "$1" != -* && "$1" != *=* ]]; do
  case "$1" in
    with) ;;
    print_config) break ;;
    umx | umxhq | umxl | umxse | umx_2019 | tiny) preset=$1 ;;
    *.yml | *.yaml | *.json) break ;;
    *) data=$1 ;;
  esac
  shift
done

run=${RUN_DIR:-$ROOT_DIR/unmix/musdb18/$(date +%Y-%m-%d_%H-%M-%S)}
seeds=
only_training=false
words=()
previous=
for argument in "$@"; do # what the arguments say goes before the environment
  case "$previous $argument" in
    *" output="* | *" --output="*) run=${argument#*=} ;;
    "--output "*) run=$argument ;;
    *" root="* | *" --root="*) data=${argument#*=} ;;
    "--root "*) data=$argument ;;
    *" --seeds="*) seeds=${argument#*=} ;;
    "--seeds "*) seeds=$argument ;;
    *" --check" | *" --help" | *" -h" | *" print_config") only_training=true ;;
  esac
  if [[ "$previous $argument" != *" --seeds"* && "$previous" != --seeds ]]; then
    words+=("$argument")
  fi
  previous=$argument
done
if [[ "${seeds:-1}" != [1-9] || "$previous" == --seeds ]]; then
  say "--seeds is '$seeds'; expected how many seeds to train, 1 to 9, as in --seeds 4." >&2
  exit 1
fi

if [[ -n "$data" ]]; then
  if [[ -z "$preset" ]]; then
    preset=umx
    # The same network; the scores are published for both kinds of files.
    for file in "$data"/train/*/vocals.wav; do
      if [[ -e "$file" ]]; then preset=umxhq; fi
    done
  fi
  given=("root=$data")
  say "Training on MUSDB18 in $data."
else
  preset=${preset:-tiny}
  given=()
  if [[ "$preset" == tiny ]]; then
    say "No corpus is named, neither as first argument nor as MUSDB18_ROOT_DIR: this trains on a"
    say "miniature of synthetic music, made here in the layout of MUSDB18. Its numbers show that"
    say "the program works, and no more."
  fi
fi
[[ "$preset" == umxse ]] && given+=("dataset=musdb") # its own corpus is speech and noise
words=(with "$preset" "target=vocals,drums,bass,other" "${given[@]}" "${words[@]}")

say "Run folder: $run"
say "Stopped at any time, this goes on from the last checkpoint:"
say "  RUN_DIR=$(printf %q "$run")$again"
model=$run
if [[ -z "$seeds" ]] || "$only_training"; then
  python -m unmix.train "${words[@]}" "output=$run"
else
  for ((seed = 42; seed < 42 + seeds; seed++)); do
    say "Seed $seed, $((seed - 41)) of $seeds:"
    python -m unmix.train "${words[@]}" "output=$run/seed$seed" "train.seed=$seed"
  done
  python -m unmix.seeds "$run"
  model=$run/best
fi
if "$only_training"; then exit 0; fi

python -m unmix.evaluate --model "$model" "${given[@]/#root=/--root=}" \
  --evaldir "$run/evaluation"

say ""
say "Weights and configuration  $model"
say "Scores                     $run/evaluation/summary.md"
say "The same, drawn            $run/evaluation/scores.png"
say "Curves                     tensorboard --logdir=$(printf %q "$run")"
say "Separate a file            python -m unmix.separate FILE --model $(printf %q "$model") --output FOLDER"
say "(the last two in a shell that has said: source $(printf %q "$repo/setup.sh"))"

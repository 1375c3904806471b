#!/usr/bin/env bash
# Trains the bundled model mini on synthetic music.
#
#   ./run_train_bundled_unmix.sh                  about 15 minutes on two cores
#   ./run_train_bundled_unmix.sh train.seed=1     arguments go to the training
#   RUN_DIR=runs/unmix/bundled/2030-01-31_12-00-00 ./run_train_bundled_unmix.sh
#                                                  continues that run
#
# It replaces the networks in unmix/bundled/mini; its scores belong on the card there. See
# setup.sh for the variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
export PYTHONSAFEPATH=1
python -m unmix.train print_config with tiny "$@" >/dev/null

data=$ROOT_DIR/unmix/bundled/data
run=${RUN_DIR:-$ROOT_DIR/unmix/bundled/$(date +%Y-%m-%d_%H-%M-%S)}
python -m common.synthetic.miniature musdb "$data" \
  --sample-rate 16000 --train 100 --test 10
python -m unmix.train with tiny data_root="$data" output="$run" \
  lr=3e-3 train.epochs=25 train.steps_per_epoch=80 train.checkpoint_steps=80 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
python -m unmix.evaluate --model "$run" --root "$data"
python -m unmix.convert "$run" "$repo/unmix/bundled/mini" --bundle

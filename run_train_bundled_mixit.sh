#!/usr/bin/env bash
# Trains the bundled model mini on synthetic sounds.
#
#   ./run_train_bundled_mixit.sh                  about 10 minutes on two cores
#   ./run_train_bundled_mixit.sh train.seed=1     arguments go to the training
#   RUN_DIR=runs/mixit/bundled/2030-01-31_12-00-00 ./run_train_bundled_mixit.sh
#                                                 continues that run
#
# It replaces mixit/bundled/mini; its scores belong on the card there. See setup.sh for the
# variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
export PYTHONSAFEPATH=1
python -m mixit.train print_config with tiny "$@" >/dev/null

data=$ROOT_DIR/mixit/bundled/data
run=${RUN_DIR:-$ROOT_DIR/mixit/bundled/$(date +%Y-%m-%d_%H-%M-%S)}
python -m common.synthetic.miniature fuss "$data" \
  --train 2000 --validation 40 --eval 100 --seconds 4
python -m mixit.train with tiny data_root="$data" records="$data-records" output="$run" \
  model.basis=stft model.window_samples=512 model.hop_samples=128 \
  model.bottleneck=96 model.conv_channels=192 batch_size=16 lr=2e-3 lr_decay_steps=600 \
  train.epochs=5 train.steps_per_epoch=300 train.checkpoint_steps=300 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
python -m mixit.evaluate --model "$run" --split eval
python -m mixit.convert "$run" "$repo/mixit/bundled/mini" --bundle

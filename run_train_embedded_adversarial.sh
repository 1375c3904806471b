#!/usr/bin/env bash
# Trains the small model that comes with the package, on synthetic music made by code.
#
#   ./run_train_embedded_adversarial.sh                 both phases, a few hours on two cores
#   ./run_train_embedded_adversarial.sh train.seed=1    arguments go to the training
#   RUN_DIR=runs/adversarial/embedded/2030-01-31_12-00-00 ./run_train_embedded_adversarial.sh
#                                                       goes on with that run
#
# It replaces adversarial/models/mini; its scores belong on the card there. See setup.sh for
# the variables it reads.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup.sh
source "$repo/setup.sh"
export PYTHONSAFEPATH=1
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"

data=$ROOT_DIR/adversarial/embedded/data
run=${RUN_DIR:-$ROOT_DIR/adversarial/embedded/$(date +%Y-%m-%d_%H-%M-%S)}
python -m common.corpora.miniature musdb "$data/paired" \
  --sample-rate 8192 --train 30 --test 20
python -m common.corpora.miniature moisesdb "$data/unpaired" \
  --sample-rate 8192 --songs 60 --seed 1
python -m adversarial.train with tiny output="$run" \
  corpora.root="$data/paired" corpora.unpaired_root="$data/unpaired" \
  num_layers=4 num_frames=64 initial_filters=8 disc_filters=8 num_disc=5 \
  init_from=sup batch_size=8 duration=10 patience=5 epoch_it=200 \
  init_sup_sep_lr=5e-4 init_unsup_sep_lr=2e-4 init_disc_lr=2e-4 \
  train.epochs=20 train.checkpoint_steps=100 train.log_steps=50 "$@"
python -m adversarial.evaluate "$run"
python -m adversarial.embedded "$run"

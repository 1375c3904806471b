#!/usr/bin/env bash
# Trains the bundled model mini on synthetic music.
#
#   ./run_train_bundled_adversarial.sh                 both phases, half an hour on two cores
#   ./run_train_bundled_adversarial.sh train.seed=1    arguments go to the training
#   RUN_DIR=runs/adversarial/bundled/2030-01-31_12-00-00 ./run_train_bundled_adversarial.sh
#                                                       continues that run
#
# It replaces adversarial/bundled/mini; its scores belong on the card there. See setup.sh for
# the variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
export PYTHONSAFEPATH=1
python -m adversarial.train print_config with tiny "$@" >/dev/null

data=$ROOT_DIR/adversarial/bundled/data
run=${RUN_DIR:-$ROOT_DIR/adversarial/bundled/$(date +%Y-%m-%d_%H-%M-%S)}
python -m common.synthetic.miniature musdb "$data/paired" \
  --sample-rate 8192 --train 40 --test 20
python -m common.synthetic.miniature moisesdb "$data/unpaired" \
  --sample-rate 8192 --songs 40 --seed 1
python -m adversarial.train with tiny output="$run" \
  corpora.data_root="$data/paired" corpora.unpaired_root="$data/unpaired" \
  head=mask num_layers=3 num_frames=32 initial_filters=12 disc_filters=8 num_disc=2 \
  batch_size=8 excerpts_reused=false epoch_it=100 patience=4 train.epochs=12 \
  init_from=sup init_sup_sep_lr=1e-3 init_unsup_sep_lr=3e-4 init_disc_lr=1e-3 \
  train.checkpoint_steps=100 train.log_steps=50 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
python -m adversarial.evaluate "$run"
python -m adversarial.convert "$run" "$repo/adversarial/bundled/mini" --bundle

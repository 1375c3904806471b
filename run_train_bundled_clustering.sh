#!/usr/bin/env bash
# Trains the bundled model mini on synthetic music.
#
#   ./run_train_bundled_clustering.sh                  about 15 minutes on two cores
#   ./run_train_bundled_clustering.sh train.seed=1     arguments go to the training
#   RUN_DIR=runs/clustering/bundled/2030-01-31_12-00-00 ./run_train_bundled_clustering.sh
#                                                       continues that run
#
# It replaces clustering/bundled/mini; its scores belong on the card there. See setup.sh for
# the variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
export PYTHONSAFEPATH=1
python -m clustering.train print_config with tiny "$@" >/dev/null

data=$ROOT_DIR/clustering/bundled/data
run=${RUN_DIR:-$ROOT_DIR/clustering/bundled/$(date +%Y-%m-%d_%H-%M-%S)}
python -m common.synthetic.miniature musdb "$data" \
  --sample-rate 16000 --train 100 --test 10
python -m clustering.train with tiny dataset=musdb data_root="$data" output="$run" \
  sources=vocals,drums+bass+other mixing=random segment_seconds=1.6 batch_size=8 \
  sample_rate=16000 window_samples=512 hop_samples=128 spectral.features.bins=257 \
  spectral.recurrent.hidden=64 spectral.embedding=12 cluster.percentile=95 \
  lr=2e-3 lr_decay_patience=2 \
  train.epochs=10 train.steps_per_epoch=150 train.checkpoint_steps=150 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
python -m clustering.evaluate "$run" --root "$data"
python -m clustering.convert "$run" "$repo/clustering/bundled/mini" --bundle

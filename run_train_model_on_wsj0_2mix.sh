#!/usr/bin/env bash
# Trains deep clustering, or another network, on mixtures of two speakers, and scores it.
#
#   ./run_train_model_on_wsj0_2mix.sh /data/wsj0-2mix         the published preset
#   WSJ0_2MIX_ROOT_DIR=/data/wsj0-2mix ./run_train_model_on_wsj0_2mix.sh      the same
#   WHAM_ROOT_DIR=/data/wham ./run_train_model_on_wsj0_2mix.sh task=mix_both
#                                                             on WHAM! instead
#   ./run_train_model_on_wsj0_2mix.sh                         synthetic data, a few minutes
#   ./run_train_model_on_wsj0_2mix.sh chimera /data/wsj0-2mix batch_size=16
#                                                 another preset, and changes of it
#   RUN_DIR=runs/clustering/wsj0_2mix/2030-01-31_12-00-00 ./run_train_model_on_wsj0_2mix.sh
#                                                             continues that run
#   ./run_train_model_on_wsj0_2mix.sh --check                 two steps, then stop
#   ./run_train_model_on_wsj0_2mix.sh --hosts FILE            on the machines of a list
#
# Other arguments go to `python -m clustering.train`, whose --help lists them. See setup.sh
# for the variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1
python -m common.doctor --tensorflow
exec python -m clustering.job "$@"

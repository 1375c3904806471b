#!/usr/bin/env bash
# Trains MixIT on FUSS, evaluates it, and separates and plots one held-out mixture.
#
#   FUSS_ROOT_DIR=/data/fuss ./run_train_model_on_fuss.sh     the published preset
#   ./run_train_model_on_fuss.sh                              synthetic data, a few minutes
#   ./run_train_model_on_fuss.sh batch_size=4 epochs=20       changes of the preset
#   ./run_train_model_on_fuss.sh tiny                         another preset, then changes
#   RUN_DIR=runs/mixit/fuss/2030-01-31_12-00-00 ./run_train_model_on_fuss.sh
#                                                             continues that run
#   ./run_train_model_on_fuss.sh --check                      two steps, then stop
#   ./run_train_model_on_fuss.sh --hosts FILE                on the machines of a list
#
# Arguments go to `python -m mixit.train`, whose --help lists them. See setup.sh for the
# variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1
python -m common.doctor --tensorflow
exec python -m mixit.job "$@"

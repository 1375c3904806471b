#!/usr/bin/env bash
# Trains the four networks of Open-Unmix on MUSDB18 on all GPUs, and evaluates them.
#
#   ./run_train_model_on_musdb18.sh /data/musdb18hq         the published preset
#   MUSDB18_ROOT_DIR=/data/musdb18hq ./run_train_model_on_musdb18.sh       the same
#   ./run_train_model_on_musdb18.sh                         synthetic data, a few minutes
#   ./run_train_model_on_musdb18.sh previews                on the 7-second previews
#   ./run_train_model_on_musdb18.sh /data/musdb18hq --target vocals lr=5e-4
#                                                           changes of the preset
#   ./run_train_model_on_musdb18.sh /data/musdb18hq --seeds 4
#                               with the seeds 42 to 45, keeping for each target the run
#                               with the lowest validation loss, as the authors did
#   RUN_DIR=runs/unmix/musdb18/2030-01-31_12-00-00 ./run_train_model_on_musdb18.sh
#                                                           continues that run
#   ./run_train_model_on_musdb18.sh --check                 two steps, then stop
#   ./run_train_model_on_musdb18.sh --hosts FILE            on the machines of a list
#
# Other arguments go to `python -m unmix.train`, whose --help lists them. See setup.sh for
# the variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1
python -m common.doctor --tensorflow
exec python -m unmix.job "$@"

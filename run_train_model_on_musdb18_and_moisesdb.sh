#!/usr/bin/env bash
# Trains the separation of singing on MUSDB18, first supervised and then also with the
# unpaired songs of MoisesDB; scores both phases, and separates a song.
#
#   MUSDB18_ROOT_DIR=/data/musdb18hq MOISESDB_ROOT_DIR=/data/moisesdb \
#     ./run_train_model_on_musdb18_and_moisesdb.sh            the published setting
#   MUSDB18_ROOT_DIR=/data/musdb18 ./run_train_model_on_musdb18_and_moisesdb.sh
#                                                             supervised only
#   ./run_train_model_on_musdb18_and_moisesdb.sh              synthetic data, a few minutes
#   ./run_train_model_on_musdb18_and_moisesdb.sh museval alpha=0.01
#                                                 another preset, and changes of it
#   RUN_DIR=runs/adversarial/musdb18_and_moisesdb/2030-01-31_12-00-00 \
#     ./run_train_model_on_musdb18_and_moisesdb.sh            continues that run
#   ./run_train_model_on_musdb18_and_moisesdb.sh --check      two steps, then stop
#   ./run_train_model_on_musdb18_and_moisesdb.sh --hosts FILE on the machines of a list
#
# Other arguments go to `python -m adversarial.train`, whose --help lists them. SONG names
# the song that is separated at the end, by default the first of the test set. See setup.sh
# for the variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1
python -m common.doctor --tensorflow
exec python -m adversarial.job "$@"

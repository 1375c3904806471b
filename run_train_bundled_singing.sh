#!/usr/bin/env bash
# Trains the bundled model that separates singing from its accompaniment, on MIR-1K.
#
#   MIR1K_DIR=/data/MIR-1K ./run_train_bundled_singing.sh    a quarter of an hour on one core
#   MIR1K_DIR=... ./run_train_bundled_singing.sh train.seed=1    arguments go to the training
#   RUN_DIR=runs/unmix/singing/2030-01-31_12-00-00 MIR1K_DIR=... \
#     ./run_train_bundled_singing.sh                            continues that run
#
# MIR1K_DIR is the corpus in the split of Huang et al., or as published. The row unmix of
# benchmarks/mir1k.py is trained on 171 clips and measured on the 825 of all other singers.
# Files among the arguments need absolute paths.
# It replaces unmix/bundled/singing; its scores belong on the card there. See setup.sh for
# the other variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
needed_folders=(MIR1K_DIR)
# shellcheck source=setup.sh
source "$repo/setup.sh"
PYTHONSAFEPATH=1 python -m unmix.train print_config with umx "$@" >/dev/null

run=${RUN_DIR:-$ROOT_DIR/unmix/singing/$(date +%Y-%m-%d_%H-%M-%S)}
python "$repo/benchmarks/mir1k.py" --root "$MIR1K_DIR" \
  --output "$run" --rows unmix --seeds 0 --train "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
PYTHONSAFEPATH=1 python -m unmix.convert "$run/unmix-0" "$repo/unmix/bundled/singing" --bundle --half

#!/usr/bin/env bash
# Trains and measures all separators of a table, and prints it beside published numbers.
#
#   ./run_table.sh mir1k --root /data/MIR-1K      hours; the corpus, or the copy of Huang
#                                                 et al. in folders train, dev and test
#   ./run_table.sh mir1k --root /data/MIR-1K --seeds 0 1 2 --rows unmix chimera
#   ./run_table.sh mir1k --tiny                   minutes, a few steps on made-up songs
#
# A table is benchmarks/NAME.py, which takes all other arguments (--help). Results go to
# ROOT_DIR/tables/NAME, or to --output. Broken off, the same command goes on. See setup.sh
# for the variables it reads.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
tables=(mir1k)
if [[ " ${tables[*]} " != *" ${1:-none} "* ]]; then
  echo "run_table.sh: ${1:-no table} is named; expected one of: ${tables[*]}" >&2
  exit 2
fi
# shellcheck source=setup.sh
source "$repo/setup.sh"
name=$1
shift
output=$ROOT_DIR/tables/$name
if [[ " $* " == *" --tiny "* ]]; then output=$output-tiny; fi
PYTHONPATH=$repo python "$repo/benchmarks/$name.py" --output "$output" "$@"

#!/usr/bin/env bash
# Repeats a table of a paper, or compares the packages with published scores.
#
#   ./run_table.sh mixit --root /data/fuss        MixIT on FUSS
#   ./run_table.sh fuss_baseline --root /data/fuss      the baseline of FUSS, with labels
#   ./run_table.sh musdb18 --root /data/musdb18   Open-Unmix on MUSDB18 and MUSDB18-HQ
#   ./run_table.sh wsj0_2mix --root /data/wsj0-2mix     deep clustering, chimera, mask
#                                                 inference, TasNet and Conv-TasNet
#   ./run_table.sh wham --root /data/wham         two speakers, WHAM! without its noise
#   ./run_table.sh wham_noisy --root /data/wham   two speakers in noise
#   ./run_table.sh adversarial --root /data/musdb18 --unpaired-root /data/moisesdb
#                                                 singing voice, with critics
#   ./run_table.sh mir1k --root /data/MIR-1K      all packages on a voice and its
#                                                 accompaniment, in hours; the corpus, or
#                                                 the copy of Huang et al. in folders
#                                                 train, dev and test
#   ./run_table.sh mir1k --root /data/MIR-1K --seeds 0 1 2 --rows unmix chimera
#   ./run_table.sh TABLE --tiny                   a trial of minutes on synthetic sounds
#   ./run_table.sh TABLE --root DIR --rows ROW... some rows of the table
#   ./run_table.sh TABLE --root DIR --limit N     scores of N test mixtures alone
#   ./run_table.sh mir1k --root DIR --jobs N      N trainings at a time
#   ./run_table.sh mir1k --root DIR --models unmix:mini    existing models too
#   ./run_table.sh mir1k --root DIR --train KEY=VALUE...   the last option: for each training
#   ./run_table.sh --list                         this list
#
# Each row trains a preset or restores published weights, separates a test mixture and
# evaluates. Results go to ROOT_DIR/tables/TABLE, or to --output: TABLE.md holds the
# measured and the published numbers, tolerances, commit, versions, hours and commands.
# After an interruption the same command continues. See setup.sh for the variables it
# reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tables=(mixit fuss_baseline musdb18 wsj0_2mix wham wham_noisy adversarial mir1k)
if [[ "${1:-}" == --list || "${1:-}" == --help || "${1:-}" == -h ]]; then
  sed -n '2,/^set/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit
fi
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
program=(reproduce.py "$name")
if [[ $name == mir1k ]]; then program=(mir1k.py); fi
PYTHONPATH=$repo python "$repo/benchmarks/${program[0]}" "${program[@]:1}" \
  --output "$output" "$@"

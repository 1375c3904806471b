#!/usr/bin/env bash
# Checks formatting, types, scripts and spelling without changing any file. `ruff format`
# and `ruff check --fix` correct what they can.
set -euo pipefail
if (($#)) && [[ "$1" != --help && "$1" != -h ]]; then
  echo "run_lint.sh: $1 is unknown: it takes no arguments." >&2
  exit 2
fi
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
cd -- "$repo"

set -x
ruff format --check .
ruff check .
mypy
shellcheck -x ./*.sh .ci/run
codespell adversarial clustering common docs harmony_split mixit unmix tests setup.py ./*.sh ./*.md .ci constraints CITATION.cff NOTICE

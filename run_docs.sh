#!/usr/bin/env bash
# Builds the documentation to docs/build/html; a warning is an error.
#
#   ./run_docs.sh                    builds it
#   ./run_docs.sh linkcheck          checks every external link
#   python -m http.server --directory docs/build/html    serves it at port 8000
set -euo pipefail
if [[ " html linkcheck --help -h " != *" ${1:-html} "* ]]; then
  echo "run_docs.sh: $1 is unknown: expected html or linkcheck." >&2
  exit 2
fi
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
cd -- "$repo"
if ! python -c 'import sphinx' 2>/dev/null; then
  echo 'run_docs.sh: Sphinx is not installed: use Python 3.11 or later, as in PYTHON=python3.11.' >&2
  exit 1
fi
export TF_CPP_MIN_LOG_LEVEL=3
builder=${1:-html}
exec python -m sphinx -W --keep-going -b "$builder" docs "docs/build/$builder"

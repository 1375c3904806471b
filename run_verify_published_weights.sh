#!/usr/bin/env bash
# Downloads the models that Google published, compares our network with the meta graph of
# each, and writes a report.
#
#   ./run_verify_published_weights.sh                   all of them, about 600 MB
#   ./run_verify_published_weights.sh yfcc100m bird4    only these
#   GRESEARCH_URL=... ZENODO_URL=... ./run_verify_published_weights.sh
#                                                       from other hosts
#
# An interrupted download continues. Models are kept in the cache of the suite
# (SEPARATION_CACHE) for mixit.load("yfcc100m"); REPORT names the report, default
# published_weights.md in ROOT_DIR. The exit code is 0 only if every model was verified.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1
exec python -m mixit.google.verify "$@" --report "${REPORT:-$ROOT_DIR/published_weights.md}"

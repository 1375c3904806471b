#!/usr/bin/env bash
# Runs the fast tests on one lane; arguments go to pytest.
#
#   ./run_tests.sh                   every fast test, two at a time
#   LANE=tfio ./run_tests.sh         the fast tests that depend on versions of libraries:
#                                    all except those marked one_lane
#   LANE=tfio ./run_tests.sh -n 2    every fast test on that lane
#   ./run_tests.sh -m slow           subprocesses, kills, small trainings
#   ./run_tests.sh -m ci             the slow tests that .ci/run runs
#   ./run_tests.sh tests/mixit -x    only these tests
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=setup.sh
source "$repo/setup.sh"
cd -- "$repo"
# A process takes 3 GB and most of a minute to start with, so few are best.
if (($# == 0)); then
  set -- --numprocesses=2 --dist=worksteal
  if [[ "$LANE" == tfio ]]; then set -- "$@" -m 'not slow and not one_lane'; fi
fi
exec python -m pytest "$@"

#!/usr/bin/env bash
# Lint, types, layers and the fast tests; with --slow the slow ones instead (real training, kills, notebooks, browser);
# with --environment kaggle or lowest the fast tests alone, with the versions of that list (tests/environments/).
# Installs what it lacks. COROLLA_TEST_PRECISION=fp32 tests as on a CPU without bf16, OMP_NUM_THREADS=2 with two threads.
# usage: scripts/test.sh [--slow | --environment NAME] [PYTEST OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
# One thread a process: two test processes on two cores would only wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# A file stays with one process, so that what its tests share is made once.
fast=(-n 2 --dist loadfile -m "not slow and not gpu")

case ${1:-} in
--environment)
    name=${2:-}
    bash scripts/environment.sh "$name"
    shift 2
    PATH="$PWD/.venv-$name/bin:$PATH" pytest "${fast[@]}" "$@"
    if [ "$name" = lowest ] && [ $# = 0 ]; then  # committed: .ci/run sees for which floors the tests have passed
        sha256sum requirements.txt tests/environments/lowest.txt >tests/environments/lowest.passed
    fi
    ;;
--slow)
    shift
    bash scripts/install.sh dev
    PATH="$PWD/.venv/bin:$PATH" pytest -n 2 -m "slow" --durations 0 "$@"
    ;;
*)
    bash scripts/install.sh dev
    export PATH="$PWD/.venv/bin:$PATH"
    ruff check
    ruff format --check
    basedpyright
    lint-imports
    pytest "${fast[@]}" "$@"
    ;;
esac

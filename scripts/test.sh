#!/usr/bin/env bash
# Lint, types, layers and the fast tests; with --slow the slow ones instead (real training, kills, notebooks, browser).
# Installs what it lacks. COROLLA_TEST_PRECISION=fp32 tests as on a CPU without bf16, OMP_NUM_THREADS=2 with two threads.
# usage: scripts/test.sh [--slow] [PYTEST OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
slow=false
if [ "${1:-}" = --slow ]; then
    slow=true
    shift
fi
bash scripts/install.sh dev
export PATH="$PWD/.venv/bin:$PATH"
# One thread a process: two test processes on two cores would only wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

if ! $slow; then
    ruff check
    ruff format --check
    basedpyright
    lint-imports
    # A file stays with one process, so that what its tests share is made once.
    pytest -n 2 --dist loadfile -m "not slow and not gpu" "$@"
else
    pytest -n 2 -m "slow" --durations 0 "$@"
fi

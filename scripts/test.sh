#!/usr/bin/env bash
# Lint, types and the fast tests; with --slow also the slow ones (real training, kills). Installs what it lacks.
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
export OMP_NUM_THREADS=1

if ! $slow; then
    ruff check
    ruff format --check
    basedpyright
    pytest -n 2 -m "not slow and not gpu" "$@"
else
    pytest -n 2 -m "slow" --durations 0 "$@"
fi

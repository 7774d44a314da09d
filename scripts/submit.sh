#!/usr/bin/env bash
# Runs to a score in a competition that takes notebooks, as tpu-getting-started does: they are packed, run on Kaggle
# with ten-crop and a vote, and what they wrote is submitted exactly once.
# usage: scripts/submit.sh MESSAGE RUN... [-- corolla submit OPTIONS]
# Where CSV files are taken: corolla predict, corolla ensemble, corolla submit CSV.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
cd "$(dirname "$0")/.."
bash scripts/install.sh
message=$1
shift
runs=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    runs+=("$1")
    shift
done
[ $# = 0 ] || shift
exec .venv/bin/corolla submit --notebook "${runs[@]}" --tta ten-crop --method vote --message "$message" "$@"

#!/usr/bin/env bash
# Runs to a score: ten-crop predictions of val and test, a vote, a checked CSV, sent to Kaggle exactly once.
# usage: scripts/submit.sh NAME RUN... ; writes submissions/NAME.csv
# For a competition that takes notebooks only: corolla submit --notebook RUN...
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
cd "$(dirname "$0")/.."
bash scripts/install.sh
export PATH="$PWD/.venv/bin:$PATH"
name=$1
shift
for split in val test; do
    corolla predict "$@" --split $split --tta ten-crop
done
corolla ensemble "$@" --method vote --tta ten-crop --out "submissions/$name.csv"
corolla submit "submissions/$name.csv" --message "$name"

#!/usr/bin/env bash
# The whole pipeline on the embedded data set, in a few minutes: draw flowers, train from scratch and by transfer,
# predict with ten-crop, vote, write a checked submission CSV, score it. Run again, it reuses what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv
if [ "${1:-}" = --environment ]; then  # kaggle: with the versions of Kaggle's image (tests/environments/)
    bash scripts/environment.sh "$2"
    venv=.venv-$2
else
    bash scripts/install.sh
fi
export PATH="$PWD/$venv/bin:$PATH"

data=data/synthetic
scratch=runs/quickstart-scratch
transfer=runs/quickstart-transfer
out=submissions/quickstart

step() { printf '\n\033[1m%s\033[0m\n' "$*"; "$@"; }

step corolla synth $data --size 64 --share 0.2
step corolla stats $data --size 64 | tail -12
step corolla train configs/flowers64.toml --data $data --run-name quickstart-scratch \
    --model.name resnet18 --train.epochs 5
step corolla train configs/transfer.toml --data $data --size 64 --input-size 96 --run-name quickstart-transfer \
    --train.epochs 3
for run in $scratch $transfer; do
    step corolla predict $run --data $data --split test --tta ten-crop
done
corolla ensemble $scratch --tta ten-crop --data $data --out $out-scratch.csv >/dev/null
corolla ensemble $transfer --tta ten-crop --data $data --out $out-transfer.csv >/dev/null
step corolla ensemble $scratch $transfer --method vote --tta ten-crop --data $data --out $out.csv

step corolla score $out-scratch.csv $out-transfer.csv $out.csv $data/test_labels.csv

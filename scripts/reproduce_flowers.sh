#!/usr/bin/env bash
# The submissions of docs/results: from scratch, by an ensemble and by transfer, on Oxford's flowers as TFRecords.
# usage: scripts/reproduce_flowers.sh [DATA [OUT]]
# DATA (default: data) holds oxford102, 64 px, and oxford17, 224 px; the four CSVs and their JSONs go to OUT (default:
# docs/results). It trains three seeds of each experiment and five other networks, for hours on two cores.
# Each run goes on where it stopped when the script is started again.
set -euo pipefail
if [ $# -gt 2 ] || [[ ${1:-} == -* ]]; then
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
fi
data=$(cd "${1:-$(dirname "$0")/../data}" && pwd)
mkdir -p "${2:-$(dirname "$0")/../docs/results}"
out=$(cd "${2:-$(dirname "$0")/../docs/results}" && pwd)
cd "$(dirname "$0")/.."
# The JSONs name folders as they are seen from here.
data=${data#"$PWD"/}
out=${out#"$PWD"/}
for set in oxford102 oxford17; do
    if [ ! -d "$data/$set" ]; then
        echo "$data/$set: there is no such folder; name the one that holds oxford102 and oxford17" >&2
        exit 2
    fi
done
bash scripts/install.sh
export PATH="$PWD/.venv/bin:$PATH"

train() { # NAME, DATA SET, experiment, options: the run runs/flowers-NAME
    local name=$1 set=$2
    shift 2
    corolla train "$@" --data "$data/$set" --run-name "flowers-$name"
}
predict() { # DATA SET, VIEWS, runs: val and test
    local set=$1 views=$2
    shift 2
    for split in val test; do
        corolla predict "${@/#/runs/flowers-}" --split $split --tta "$views" --checkpoint last --data "$data/$set"
    done
}
submission() { # NAME, DATA SET, VIEWS, METHOD, runs: their predictions joined, written to OUT/NAME.csv
    local name=$1 set=$2 views=$3 method=$4
    shift 4
    corolla ensemble "${@/#/runs/flowers-}" --method "$method" --tta "$views" --checkpoint last --data "$data/$set" \
        --out "$out/$name.csv"
}

for seed in 0 1 2; do
    train scratch-$seed oxford102 scratch_best --input-size 96 --train.seed $seed
    train transfer-$seed oxford102 transfer_best --input-size 128 --train.seed $seed
    train transfer17-$seed oxford17 transfer_best --size 224 --train.seed $seed
done
train resnet34 oxford102 scratch_best --model.name resnet34 --input-size 96
train resnet34-1 oxford102 scratch_best --model.name resnet34 --input-size 96 --train.seed 1
train resnet50 oxford102 scratch_best --model.name resnet50 --input-size 96
train px128 oxford102 scratch_best --input-size 128
# A plain net has no shortcuts for the tricks of scratch_best, and learns next to nothing with its decay and learning rate.
train plain34 oxford102 scratch_best --model.name plain34 --model.no-avg-shortcut --model.zero-gamma None \
    --optim.weight-decay 5e-4 --optim.lr 0.05 --train.epochs 15

scratch=(scratch-0 scratch-1 scratch-2)
others=(plain34 resnet34 resnet34-1 resnet50 px128)
predict oxford102 ten-crop "${scratch[@]}" "${others[@]}" transfer-0 transfer-1 transfer-2
predict oxford17 ten-crop_size256 transfer17-0 transfer17-1 transfer17-2
submission oxford102-scratch oxford102 ten-crop mean scratch-0
submission oxford102-ensemble oxford102 ten-crop weighted "${others[@]}" "${scratch[@]}"
submission oxford102-transfer oxford102 ten-crop mean transfer-0
submission oxford17-transfer oxford17 ten-crop_size256 mean transfer17-0
corolla compare runs/flowers-scratch-? runs/flowers-transfer-? runs/flowers-px128 runs/flowers-resnet34* --tta ten-crop

#!/usr/bin/env bash
# The comparison of the ResNet report, the slides that this project started from: plain-34, ResNet-34 and ResNet-50 from
# scratch and ResNet-50 from ImageNet weights, ten-crop, vote, table. Without the model hub EfficientNet-Lite0 from its pip
# package is the transfer side.
# usage: scripts/reproduce_report.sh DATA SIZE [corolla train OPTIONS, such as --train.epochs 5]
# Each run goes on where it stopped when the script is started again.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,7s/^# //p' "$0" >&2
    exit 2
fi
data=$(cd "$1" && pwd)
size=$2
shift 2
cd "$(dirname "$0")/.."
bash scripts/install.sh
export PATH="$PWD/.venv/bin:$PATH"

runs=()
train() { # experiment, options
    local experiment=$1
    shift
    corolla train "$experiment" --data "$data" --size "$size" --run-name "report-$experiment-$size" "$@" || return
    runs+=("runs/report-$experiment-$size")
}
for experiment in plain34 resnet34 resnet50; do
    train $experiment "$@"
done
# Exit status 2 is the user's mistake: here, that the hub cannot be reached. Anything else is passed on.
status=0
train resnet50_pretrained "$@" || status=$?
if [ $status = 2 ]; then
    echo "no weights from the hub: lite0_pretrained takes the place of resnet50_pretrained"
    train lite0_pretrained "$@"
elif [ $status != 0 ]; then
    exit $status
fi

for split in val test; do
    corolla predict "${runs[@]}" --data "$data" --split $split --tta ten-crop
done
table=$(printf '%-44s %s' submission 'val, ten-crop')
csvs=()
combine() { # NAME, runs
    local csv=submissions/$1.csv
    shift
    local said
    said=$(corolla ensemble "$@" --method vote --tta ten-crop --data "$data" --out "$csv")
    csvs+=("$csv")
    table+=$'\n'$(printf '%-44s %s' "$csv" "$(sed -n 's/^the same ensemble on val: //p' <<<"$said")")
}
for run in "${runs[@]}"; do
    combine "$(basename "$run")" "$run"
done
combine "report-vote-$size" "${runs[@]}"
printf '\n%s\n' "$table"
if [ -f "$data/test_labels.csv" ]; then
    corolla score "${csvs[@]}" "$data/test_labels.csv"
fi

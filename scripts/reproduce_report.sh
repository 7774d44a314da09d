#!/usr/bin/env bash
# The comparisons of the ResNet report, the slides that this project started from, at its own size: plain-34 and ResNet-34,
# basic blocks and bottlenecks, its first trials, scratch and ImageNet (ResNet-50 by the model hub), and the vote of all four.
# usage: scripts/reproduce_report.sh DATA SIZE [corolla study run OPTIONS, such as --seeds 0 --epochs-factor 0.1]
# Started again it goes on; two GPUs share it when it is started once for each (CUDA_VISIBLE_DEVICES).
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
here=$PWD
cd "$(dirname "$0")/.."
bash scripts/install.sh
export PATH="$PWD/.venv/bin:$PATH"
data=$(cd "$here" && cd "$1" && pwd)
options=(--full --data "$data" --size "$2" "${@:3}")

corolla study run studies/report_shortcuts.toml "${options[@]}"
corolla study run studies/report_blocks.toml "${options[@]}"
corolla study run studies/report_patience.toml "${options[@]}"
corolla study run studies/report_transfer.toml "${options[@]}"
corolla study run studies/report_vote.toml "${options[@]}"

#!/usr/bin/env bash
# The competition's photos from Kaggle, verified. Started again it goes on where it stopped.
# usage: scripts/download.sh [corolla download OPTIONS, such as --size 512]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh
exec .venv/bin/corolla download "$@"

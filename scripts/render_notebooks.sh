#!/usr/bin/env bash
# Run all notebooks in order and write them with their outputs as HTML; the notebooks themselves stay without.
# usage: scripts/render_notebooks.sh [FOLDER]   (default: docs/notebooks)
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh dev
export PATH="$PWD/.venv/bin:$PATH"
mkdir -p "${1:-docs/notebooks}"
out=$(cd "${1:-docs/notebooks}" && pwd)
# tqdm would say on every page that it draws its bars as text.
export PYTHONWARNINGS="ignore:IProgress not found"

# One after the other: the later ones use the runs of the earlier.
for notebook in notebooks/*.ipynb; do
    echo "$notebook"
    jupyter nbconvert --execute --to html --log-level WARN --ExecutePreprocessor.timeout=-1 \
        --ExecutePreprocessor.kernel_name=python3 --output-dir "$out" "$notebook"
done
echo "wrote $out/*.html"

#!/usr/bin/env bash
# corolla on this machine's CUDA card in under five minutes: scratch_best for its time and score, five benches, the tests marked
# gpu, a run that is killed and goes on, and the table of faults. A line each, and a JSON each in gpu-check/.
# Installs nothing and asks no network: it takes PYTHON, else .venv, else python3, which needs corolla's requirements and
# pytest with pytest-xdist. With --rehearse the same steps, small and on the CPU, to see that they run at all.
# usage: scripts/gpu_check.sh [--rehearse] [DATA64 DATA224]     (data folders of 64 and 224 px; else the embedded set)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore
export HF_HUB_OFFLINE=1 NO_ALBUMENTATIONS_UPDATE=1
exec "$python" scripts/gpu_check.py "$@"

#!/usr/bin/env bash
# Make .venv and install what it lacks: `scripts/install.sh` for running, and with the name of an extra of pyproject.toml what
# that is for: `notebook` (Jupyter Lab), `export` (ONNX), `dev` (lint, types, tests). With TORCH_INDEX=URL of a package
# index torch and torchvision come from there, such as builds without CUDA: 2 GB of disk in place of 6.
# A stamp in .venv holds the hash of what was asked for, so a second run installs nothing. Needs Python 3.11 and git.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-run}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "corolla needs Python 3.11 or later; name it with PYTHON=/path/to/python3 $0" >&2
    return 1
}

make_venv() {
    local python=$1
    "$python" -m venv .venv 2>/dev/null && return
    # Debian ships Python without what venv needs.
    echo "python3 -m venv does not work here; trying virtualenv, then the system's package"
    rm -rf .venv
    "$python" -m virtualenv .venv 2>/dev/null && return
    "$python" -m pip install --quiet --user virtualenv 2>/dev/null && "$python" -m virtualenv .venv && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv python3-pip && "$python" -m venv .venv && return
    fi
    echo "cannot make .venv; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2
    return 1
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    python=$(find_python)
    make_venv "$python"
fi

wanted=$({ cat requirements.txt pyproject.toml scripts/install.sh; echo "${TORCH_INDEX:-}"; } | .venv/bin/python -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
for extra in run "$what"; do
    stamp=.venv/.installed-$extra
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        target=.
        [ "$extra" = run ] || target=".[$extra]"
        echo "installing into .venv ($extra) ..."
        if [ "$extra" = run ] && [ -n "${TORCH_INDEX:-}" ]; then  # first: what is there is then not replaced
            grep -E '^torch(vision)?>' requirements.txt | xargs "${pip[@]}" --index-url "$TORCH_INDEX"
        fi
        "${pip[@]}" --editable "$target"
        echo "$wanted" >"$stamp"
    fi
done

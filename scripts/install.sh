#!/usr/bin/env bash
# Make .venv and install what it lacks: `scripts/install.sh` for running, and with names of extras of pyproject.toml what
# they are for: `notebook` (Jupyter Lab), `export` (ONNX), `dev` (lint, types, tests). With TORCH_INDEX=URL of a package
# index torch and torchvision come from there, such as builds without CUDA: 2 GB of disk in place of 7; those that .venv
# has from elsewhere are replaced.
# A stamp in .venv holds the hash of what was asked for, so a second run installs nothing. Needs Python 3.11 and git.
set -euo pipefail
cd "$(dirname "$0")/.."

extras=$(sed -n '/^\[project.optional-dependencies\]/,/^\[/s/^\([a-z]*\) = .*/\1/p' pyproject.toml)
for what in "$@"; do
    if ! grep -qxF -e "$what" <<<"$extras"; then
        echo "$what: there is no such extra; there are:" $extras >&2
        exit 2
    fi
done

find_python() {
    for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
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

# Install torch and torchvision from TORCH_INDEX; whatever goes wrong is one line, and leaves those that are there.
install_torch() {
    local packages said unused from=.venv/.torch-index index
    packages=$(grep -oE '^torch(vision)?>=[0-9.]+' requirements.txt)
    index=$(cksum <<<"$TORCH_INDEX")  # not the address itself, which may hold a password
    from_index() {  # alone, whatever other places pip's settings name
        said=$(PIP_EXTRA_INDEX_URL="$TORCH_INDEX" PIP_FIND_LINKS="$PWD/.venv" "${pip[@]}" --index-url "$TORCH_INDEX" "$@" $packages 2>&1) && return
        said=$(grep '^ERROR' <<<"$said" | head -1 || true)
        echo "TORCH_INDEX=$TORCH_INDEX: torch and torchvision can't be installed from there (${said#ERROR: })" >&2
        exit 1
    }
    if compgen -G '.venv/lib*/python*/site-packages/torch-*.dist-info' >/dev/null \
        && [ "$(cat "$from" 2>/dev/null)" != "$index" ]; then
        from_index --force-reinstall --no-deps
    fi
    from_index
    # What the torch before had of CUDA, gigabytes, goes where the one that is there now needs none.
    unused=$(.venv/bin/python - <<'PYTHON'
import re
from importlib.metadata import PackageNotFoundError, distributions, requires

try:
    needed = " ".join(requires("torch") or ())
except PackageNotFoundError:
    needed = "nvidia"
names = {distribution.name for distribution in distributions()}
if "nvidia" not in needed and "cuda" not in needed:
    print(*sorted(name for name in names if re.match(r"(nvidia|cuda)-|triton$", name)), sep="\n")
PYTHON
    )
    [ -z "$unused" ] || xargs .venv/bin/python -m pip uninstall --quiet --yes <<<"$unused"
    echo "$index" >"$from"
}

# One at a time: machines of a cluster that share a disk begin at once. (macOS has no flock.)
if command -v flock >/dev/null && { exec 9>>.venv.lock; } 2>/dev/null; then
    flock -n 9 || { echo "another install works on .venv; waiting for it ..." && flock 9; }
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    python=$(find_python)
    make_venv "$python"
fi

wanted=$({ cat requirements.txt pyproject.toml scripts/install.sh; echo "${TORCH_INDEX:-}"; } | .venv/bin/python -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
for extra in run "$@"; do
    stamp=.venv/.installed-$extra
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        target=.
        [ "$extra" = run ] || target=".[$extra]"
        echo "installing into .venv ($extra) ..."
        if [ "$extra" = run ] && [ -n "${TORCH_INDEX:-}" ]; then  # first: what is there is then not replaced
            install_torch
        fi
        "${pip[@]}" --editable "$target"
        echo "$wanted" >"$stamp"
    fi
done

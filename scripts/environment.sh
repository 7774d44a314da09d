#!/usr/bin/env bash
# Make the virtual environment .venv-NAME with the versions that tests/environments/NAME.txt pins, and corolla in it.
# A stamp holds the hash of all that went in, so a second call installs nothing. `kaggle` takes some 8 GB of disk, `lowest`
# 6, nearly all of it torch's CUDA; with TORCH_INDEX=URL of an index that has CPU builds they take 2.
# usage: scripts/environment.sh kaggle|lowest
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-}
list=tests/environments/$name.txt
if [ -z "$name" ] || [ ! -f "$list" ]; then
    echo "usage: $0 NAME, where tests/environments/NAME.txt is one of: $(cd tests/environments && echo *.txt)" >&2
    exit 2
fi
folder=.venv-$name

works() { "$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" 2>/dev/null; }

find_python() {  # of that version, else the one at hand, saying so
    local version=$1 candidate
    for candidate in "python$version" "$(pyenv root 2>/dev/null)"/versions/"$version"*/bin/python; do
        if works "$candidate" "$version"; then
            echo "$candidate"
            return
        fi
    done
    echo "there is no Python $version here; $name is tried with $(python3 --version)" >&2
    echo python3
}

python=$(find_python "$(sed -n 's/^# python //p' "$list")")
wanted=$({ cat "$list" requirements.txt pyproject.toml "$0"; "$python" --version; echo "${TORCH_INDEX:-}"; } | sha256sum)
if [ "$(cat "$folder/.installed" 2>/dev/null)" != "$wanted" ]; then
    echo "making $folder ..."
    rm -rf "$folder"
    "$python" -m venv "$folder"
    pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"})
    "${pip[@]}" --requirement "$list"
    "$folder/bin/python" tests/environments/check.py "$list" --before
    "$folder/bin/python" tests/environments/check.py "$list" --constraints >"$folder/constraints.txt"
    "${pip[@]}" --constraint "$folder/constraints.txt" --editable '.[test]'
    echo "$wanted" >"$folder/.installed"
fi
"$folder/bin/python" tests/environments/check.py "$list"

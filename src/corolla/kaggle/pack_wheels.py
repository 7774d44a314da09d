"""`corolla pack`: corolla as wheels in a folder, for notebooks on Kaggle (with or without internet) and on Colab."""

import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corolla.errors import UserError
from corolla.files import sha256, write_atomically
from corolla.kaggle.image import PYTHON, fitting
from corolla.kaggle.image_wheels import fitting_wheels
from corolla.kaggle.needs import installed, lacking_offline
from corolla.kaggle.wheels import build_wheel
from corolla.temporary import is_temporary
from corolla.text_files import read_json

Target = Literal["kaggle", "colab"]

MANIFEST = "corolla.json"  # by which a cell finds the folder
UPLOAD = "dataset-metadata.json"  # of Kaggle's client; the user's title and id stand there

FIND = "find -L /kaggle/input -maxdepth 4"  # /kaggle/input/SLUG/ or /kaggle/input/datasets/OWNER/SLUG/
CELLS = {
    "Kaggle, with internet": f"%pip install -q $({FIND} -name 'corolla-*.whl' -print -quit)",
    "Kaggle, without": f"%pip install -q --no-index --no-deps $({FIND} -name {MANIFEST} -printf '%h/*.whl' -quit)",
    "Colab": "%pip install -q /content/corolla-*.whl",
}
"""A notebook's first cell. With internet pip brings what lacks, and the image's torch stays because it satisfies
corolla's floor. Without, exactly the wheels of the folder are installed: were pip to look at the image's packages too,
what one of those declares but does not have would stop it. No cell asks an index for a package called corolla."""


@dataclass(frozen=True)
class Packed:
    """A folder of wheels and a manifest."""

    folder: Path
    wheels: tuple[Path, ...]
    """corolla's own comes first."""

    @property
    def num_bytes(self) -> int:
        return sum(wheel.stat().st_size for wheel in self.wheels)


def pack_wheels(folder: Path, target: Target = "kaggle") -> Packed:
    """Write corolla's own wheel into `folder`, for Kaggle with wheels of what its image lacks.

    Packed again, the folder holds what belongs there today: what corolla put there before and is old now goes.

    Raises:
        UserError: the folder holds files that are not corolla's and would be uploaded, or a package is not fit.
    """
    pins = lacking_offline() if target == "kaggle" else {}
    before = _check(folder, {*pins.items(), ("corolla", installed("corolla").version)})
    wheels = (build_wheel(folder), *fitting_wheels(pins, folder))
    manifest = {
        "for": target,
        "python": PYTHON if target == "kaggle" else None,
        "files": {wheel.name: sha256(wheel) for wheel in sorted(wheels)},
    }
    write_atomically(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    for name in before - {wheel.name for wheel in wheels}:
        (folder / name).unlink()
    return Packed(folder, wheels)


def _check(folder: Path, expected: Set[tuple[str, str]]) -> set[str]:
    """Return the files in a folder that an earlier pack left there; refuse one that holds anything else.

    Args:
        expected: names and versions of the wheels that are about to be written.
    """
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for the wheels")
    there = {path.name for path in folder.iterdir()}
    manifest, listed = folder / MANIFEST, set[str]()
    if manifest.exists():
        listed |= read_json(manifest, {"files": {str: object}}, remedy="take another folder, or remove it")[
            "files"
        ].keys()
    ours = there & listed | {name for name in there if is_temporary(name, "*.whl", "*.json")}
    # of a pack that was cut short there is no manifest yet
    others = {name for name in there - ours - {MANIFEST, UPLOAD} if fitting(name) not in expected}
    if others:
        raise UserError(
            f"{folder / min(others)}: corolla did not pack it, but it would be uploaded; take another folder"
        )
    return ours

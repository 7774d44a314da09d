"""Get wheels that fit Kaggle's Python: from the user's package index, else made of what is installed here.

The versions are those that are installed here, and an index serves one file for one version: packed again, the same
versions are the same bytes.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from corolla.files import replacing
from corolla.kaggle.image import ABI, PLATFORMS, PYTHON, fitting
from corolla.kaggle.wheels import repack
from corolla.temporary import scratch_folder

log = logging.getLogger(__name__)

TIMEOUT_S = 15  # without an answer, once more, then the index counts as silent
LONGEST_S = 300.0  # for all wheels together


class _NoWheels(Exception):
    """The package index gave no wheels; the message says why."""


def fitting_wheels(pins: Mapping[str, str], folder: Path) -> list[Path]:
    """Return a wheel in `folder` for each distribution, in the order of the pins.

    A wheel that is there and fits stays, so that packing again needs no index. The others are downloaded by pip, with
    the user's settings of it; where that fails they are packed from what is installed here, and a warning says so.

    Args:
        pins: name -> version, which is the one that is installed here.

    Raises:
        UserError: pip gave none, and one cannot be packed.
    """
    found = _there(pins, folder)
    missing = {name: version for name, version in pins.items() if name not in found}
    if missing:
        with scratch_folder("wheels") as temporary:
            try:
                new = _download(missing, temporary)
                log.info("%d wheels for Python %s come from the package index", len(new), PYTHON)
            except _NoWheels as error:
                new = {name: repack(name, temporary) for name in missing}
                log.warning("%s", _instead(str(error), new))
            for name, wheel in new.items():
                found[name] = folder / wheel.name
                with replacing(found[name]) as copy:
                    shutil.copyfile(wheel, copy)
    return [found[name] for name in pins]


def _there(pins: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """Return the wheels in a folder that are pinned and fit: name -> wheel."""
    wheels = {fitting(path.name): path for path in sorted(folder.glob("*.whl"))}
    return {name: wheels[name, version] for name, version in pins.items() if (name, version) in wheels}


def _download(pins: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """Have pip download wheels of these versions into `folder`, and return them: name -> wheel.

    Raises:
        _NoWheels: there is no pip, no index answers, or it lacks one of them.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    command += ["--abi", ABI, *(word for platform in PLATFORMS for word in ("--platform", platform))]
    command += ["--retries", "1", "--timeout", str(TIMEOUT_S), "--dest", str(folder)]
    command += [f"{name}=={version}" for name, version in pins.items()]
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        raise _NoWheels(f"pip was not done in {LONGEST_S / 60:.0f} minutes") from None
    if done.returncode:
        raise _NoWheels(_reason(done.stderr) or f"pip ended with {done.returncode}")
    found = _there(pins, folder)
    if odd := pins.keys() - found.keys():
        raise _NoWheels(f"pip gave no wheel of {', '.join(sorted(odd))} that fits")
    return found


def _reason(stderr: str) -> str:
    """Return in one line what pip complains of."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("connection broken" in line for line in lines):  # its last line would say that there is no such version
        return "it does not answer"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [""])[-1]


def _instead(reason: str, wheels: Mapping[str, Path]) -> str:
    """Return the warning that wheels were made here."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = f"{', '.join(wheels)}: no wheels for Kaggle's Python {PYTHON} from the package index ({reason}); packed "
    said += "what is installed here"
    if all(wheel.name.endswith("-none-any.whl") for wheel in wheels.values()):
        return f"{said}, which fits any Python"
    said += f", which fits Python {here} only"
    misfits = [name for name, wheel in wheels.items() if fitting(wheel.name) is None]
    remedy = f"; run it again when the index answers (pip config list shows which one), or with Python {PYTHON}"
    return f"{said}, not Kaggle's ({', '.join(misfits)}){remedy}" if misfits else said

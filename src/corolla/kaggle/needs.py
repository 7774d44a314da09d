"""Find what corolla needs and Kaggle's image lacks, by the metadata of what is installed here."""

import importlib.metadata
import re
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from corolla.errors import UserError
from corolla.kaggle.image import MARKERS, STAYS, version_of

PREDICTION_NEEDS = ("annotated-types", "google-crc32c", "pydantic", "safetensors", "simplejpeg", "timm", "tqdm")
"""Distributions that predicting imports, beside those of STAYS; a test predicts, and compares."""

OPTIONAL = ("simplejpeg",)
"""Without it OpenCV decodes to the same pixels, only more slowly: its wheel need not fit Kaggle's Python."""

ONLINE = ("kaggle", "six")
"""Distributions that only talk to Kaggle's servers, and are of no use without internet."""

CHECKOUT = Path(__file__).parents[3]


def own_requirements() -> list[Requirement]:
    """Return what corolla depends on.

    In a checkout its requirements.txt says so, not the installed metadata, which are older where the checkout was
    changed after it was installed: an old floor of torch would replace the image's.
    """
    if not _is_checkout():
        return requirements_of("corolla")
    lines = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [Requirement(line) for line in listed if line]


def own_metadata() -> str:
    """Return the file METADATA of corolla's wheel: that of the installation, with the requirements of today.

    Raises:
        UserError: corolla is not installed, only imported from a folder.
    """
    distribution = installed("corolla")
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    if not _is_checkout():
        return text
    head, blank, description = text.partition("\n\n")
    kept = [line for line in head.splitlines() if not line.startswith("Requires-Dist:") or "extra ==" in line]
    listed = [f"Requires-Dist: {need}" for need in own_requirements()]
    return "\n".join([*kept, *listed]) + blank + description


def lacking(needs: Iterable[Requirement]) -> dict[str, str]:
    """Return what the image lacks or has too old of these and of what they need in turn: name -> version here.

    Raises:
        UserError: one of them is not installed here.
    """
    found: dict[str, str] = {}
    waiting = list(needs)
    while waiting:
        need = waiting.pop()
        name, there = canonicalize_name(need.name), version_of(need.name)
        fits = there is not None and need.specifier.contains(there, prereleases=True)
        if name not in found and name not in STAYS and not fits:
            found[name] = str(Version(installed(name).version))  # as it stands in a wheel's name
            waiting += requirements_of(name)
    return dict(sorted(found.items()))


def lacking_offline() -> dict[str, str]:
    """Return what the image lacks of what corolla needs in a notebook without internet: name -> version here."""
    return lacking(need for need in own_requirements() if canonicalize_name(need.name) not in ONLINE)


def lacking_for_prediction() -> dict[str, str]:
    """Return what the image lacks of what predicting needs: name -> version here."""
    return lacking(need for need in own_requirements() if canonicalize_name(need.name) in PREDICTION_NEEDS)


def pip_requirements() -> tuple[list[str], list[str]]:
    """Return the requirements for pip in the notebook: (without their dependencies, with them).

    The first need something of STAYS: were pip to look at that, what its build declares but does not have would
    stop it. The second are solved by pip, because a pydantic is good for exactly one pydantic-core. corolla's
    floors go along; a version that satisfies them already stays.
    """
    floors = {str(canonicalize_name(need.name)): str(need.specifier) for need in own_requirements()}
    without_needs: set[str] = set()
    solved: set[str] = set()
    for name in (name for name in PREDICTION_NEEDS if name not in OPTIONAL):
        needs = {str(canonicalize_name(need.name)) for need in requirements_of(name)}
        if needs & STAYS:
            without_needs.add(name)
            solved |= needs - STAYS
        else:
            solved.add(name)
    solved -= without_needs
    with_floor = [[name + floors.get(name, "") for name in sorted(names)] for names in (without_needs, solved)]
    return with_floor[0], with_floor[1]


def installed(name: str) -> Distribution:
    """Return an installed distribution.

    Raises:
        UserError: there is none of this name.
    """
    found = list(importlib.metadata.distributions(name=name))
    if not found:
        raise UserError(f"{name}: is not installed here, but corolla needs it; pip install {name}")
    # setuptools leaves an .egg-info beside an editable checkout, without the licence
    return next((distribution for distribution in found if distribution.read_text("METADATA")), found[0])


def requirements_of(name: str) -> list[Requirement]:
    """Return the requirements that an installed distribution has in the image, extras aside."""
    needs = map(Requirement, installed(name).requires or [])
    return [need for need in needs if need.marker is None or need.marker.evaluate({**MARKERS, "extra": ""})]


def _is_checkout() -> bool:
    return Path(__file__).parents[2] == CHECKOUT / "src" and (CHECKOUT / "requirements.txt").is_file()

"""The floors of requirements.txt against the lists of versions with which the tests run, without a network."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LISTS = ROOT / "tests" / "environments"
OF_THE_IMAGE = {"torch", "torchvision", "numpy", "opencv-python-headless", "pandas", "timm"}
"""They belong to the image's driver, or to hundreds of neighbours: installing corolla must not replace them."""


def requirements() -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    needs = [Requirement(line) for line in lines if line]
    return {canonicalize_name(need.name): need for need in needs}


def pins(name: str) -> dict[str, tuple[Version, bool]]:
    """Version by name, and whether it is marked as replaced."""
    found = {}
    for line in (LISTS / f"{name}.txt").read_text().splitlines():
        pin, _, mark = line.partition("#")
        if pin.strip():
            package, _, version = pin.strip().partition("==")
            found[canonicalize_name(package)] = (Version(version), "replaced" in mark)
    return found


def test_kaggles_versions_stay_but_for_those_that_are_named() -> None:
    there, needs = pins("kaggle"), requirements()
    assert there.keys() >= OF_THE_IMAGE
    replaced = {name for name, need in needs.items() if name in there and there[name][0] not in need.specifier}
    assert replaced == {"kaggle"}
    assert {name for name, (_, marked) in there.items() if marked} == {"kaggle", "kagglesdk"}


def test_the_lowest_versions_are_the_floors() -> None:
    """Every requirement is pinned at its floor, so none promises a version that was never tried."""
    lowest, needs = pins("lowest"), requirements()
    assert lowest.keys() == needs.keys()
    for name, need in needs.items():
        (floor,) = [Version(part.version) for part in need.specifier if part.operator in (">=", "==")]
        assert lowest[name][0].release[: len(floor.release)] == floor.release, name
        assert lowest[name][0] in need.specifier, name


@pytest.mark.parametrize("name", ["kaggle", "lowest"])
def test_a_list_says_which_python_it_is_for(name: str) -> None:
    text = (LISTS / f"{name}.txt").read_text()
    assert re.match(r"# python 3\.1\d\n", text)

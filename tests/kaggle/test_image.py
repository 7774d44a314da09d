"""The facts about Kaggle's image are those of the tests' environment, and decide which wheels fit."""

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from corolla.kaggle.image import HAS, HAS_AT_LEAST, PYTHON, STAYS, fitting, version_of

CLIENT = ("kaggle", "kagglesdk")  # of no use without internet, and so in none of the package's lists
ENVIRONMENT = Path(__file__).parents[1] / "environments" / "kaggle.txt"


def test_the_tests_run_in_what_the_package_knows() -> None:
    """One list, in two places: the package cannot read tests/."""
    text = ENVIRONMENT.read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)
    there = {str(canonicalize_name(name)): version for name, version in pins}
    assert {name: version for name, version in there.items() if name not in CLIENT} == HAS
    assert f"# python {PYTHON}\n" in text


def test_names_are_canonical() -> None:
    for name in (*HAS, *HAS_AT_LEAST, *STAYS):
        assert canonicalize_name(name) == name
    assert not HAS.keys() & HAS_AT_LEAST.keys()
    assert HAS.keys() >= STAYS
    assert version_of("huggingface_hub") == HAS["huggingface-hub"]
    assert version_of("simplejpeg") is None


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64", True),
        ("cp312-cp312-manylinux_2_28_x86_64", True),
        ("cp38-abi3-manylinux_2_17_x86_64", True),
        ("cp312-none-any", True),
        ("cp311-cp311-manylinux2014_x86_64", False),
        ("cp313-cp313-manylinux2014_x86_64", False),
        ("cp313-abi3-manylinux2014_x86_64", False),
        ("cp312-cp312-manylinux_2_39_x86_64", False),
        ("cp312-cp312-manylinux2014_aarch64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp312-cp312-linux_x86_64", False),
        ("cp312-cp312-win_amd64", False),
        ("cp312-cp312-macosx_11_0_arm64", False),
    ],
)
def test_which_wheels_fit(tag: str, fits: bool) -> None:
    assert fitting(f"google_crc32c-1.9.0-{tag}.whl") == (("google-crc32c", "1.9.0") if fits else None)


@pytest.mark.parametrize("name", ["corolla.json", "simplejpeg-1.9.0.tar.gz", "odd.whl", ".x.whl.12.tmp"])
def test_what_is_no_wheel(name: str) -> None:
    assert fitting(name) is None

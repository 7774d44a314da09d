"""Wheels for Kaggle's Python: from the user's package index, else of what is installed here."""

import importlib.metadata
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from package_index import PackageIndex

from corolla.errors import UserError
from corolla.kaggle import image_wheels
from corolla.kaggle.image import fitting
from corolla.kaggle.image_wheels import fitting_wheels

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = importlib.metadata.version("simplejpeg")
PINS = {"google-crc32c": importlib.metadata.version("google-crc32c"), "simplejpeg": VERSION}
TAG = "cp312-cp312-manylinux2014_x86_64"
OTHERS = (
    "cp311-cp311-manylinux2014_x86_64",
    "cp313-cp313-manylinux2014_x86_64",
    "cp312-cp312-manylinux2014_aarch64",
    "cp312-cp312-macosx_11_0_arm64",
    "cp312-cp312-win_amd64",
    "cp312-cp312-musllinux_1_2_x86_64",
)


@pytest.fixture
def offered(package_index: PackageIndex) -> PackageIndex:
    """Both wheels for every Python, newer ones too."""
    for name, version in PINS.items():
        for tag in (TAG, *OTHERS):
            package_index.add(name, version, tag)
        package_index.add(name, "99.0", TAG)
    return package_index


def names(wheels: list[Path]) -> list[str]:
    return [wheel.name for wheel in wheels]


def test_of_an_index_those_for_kaggles_python_in_the_versions_of_here(offered: PackageIndex, tmp_path: Path) -> None:
    wheels = fitting_wheels(PINS, tmp_path / "wheels")
    assert names(wheels) == [f"google_crc32c-{PINS['google-crc32c']}-{TAG}.whl", f"simplejpeg-{VERSION}-{TAG}.whl"]
    for wheel in wheels:
        assert wheel.read_bytes() == (offered.folder / wheel.name).read_bytes(), "stored as it was served"
    assert sorted((tmp_path / "wheels").iterdir()) == sorted(wheels)
    assert sorted(offered.fetched) == sorted(names(wheels))


def test_equal_versions_are_equal_bytes(
    offered: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = {wheel.name: wheel.read_bytes() for wheel in fitting_wheels(PINS, tmp_path / "one")}
    assert {wheel.name: wheel.read_bytes() for wheel in fitting_wheels(PINS, tmp_path / "two")} == first
    offered.asked.clear()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert {wheel.name: wheel.read_bytes() for wheel in fitting_wheels(PINS, tmp_path / "one")} == first
    assert offered.asked == [], "what is there and fits stays"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_only_what_is_not_there_is_asked_for(offered: PackageIndex, tmp_path: Path) -> None:
    fitting_wheels({"simplejpeg": VERSION}, tmp_path)
    offered.asked.clear()
    (tmp_path / "simplejpeg-0.1-py3-none-any.whl").write_bytes(b"of another version")
    assert len(fitting_wheels(PINS, tmp_path)) == 2
    assert set(offered.asked) == {"google-crc32c"}


def fallback(folder: Path, caplog: pytest.LogCaptureFixture, pins: dict[str, str] = PINS) -> str:
    """The warning, after wheels were made of what is installed here."""
    caplog.clear()
    wheels = fitting_wheels(pins, folder)
    assert [wheel.name.split("-")[1] for wheel in wheels] == list(pins.values())
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "\n" not in warning
    return warning


def test_where_nothing_listens_the_fallback_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    warning = fallback(tmp_path / "one", caplog)
    assert warning.startswith(
        "google-crc32c, simplejpeg: no wheels for Kaggle's Python 3.12 from the package index (it does not answer); "
        f"packed what is installed here, which fits Python {HERE} only"
    )
    if HERE != "3.12":
        assert "not Kaggle's (google-crc32c, simplejpeg); run it again when the index answers" in warning
        fallback(tmp_path / "one", caplog)  # what does not fit is asked for again
    first, second = (fitting_wheels(PINS, tmp_path / folder) for folder in ("one", "two"))
    assert [wheel.read_bytes() for wheel in first] == [wheel.read_bytes() for wheel in second]


@pytest.mark.parametrize("tag", OTHERS)
def test_a_wheel_for_another_python_or_platform_is_not_taken(
    tag: str, package_index: PackageIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package_index.add("simplejpeg", VERSION, tag)
    warning = fallback(tmp_path, caplog, {"simplejpeg": VERSION})
    assert f"(No matching distribution found for simplejpeg=={VERSION})" in warning
    assert package_index.fetched == []


def test_another_version_is_not_taken(
    package_index: PackageIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package_index.add("simplejpeg", "99.0", TAG)
    assert "No matching distribution" in fallback(tmp_path, caplog, {"simplejpeg": VERSION})


def test_the_users_constraints_count(
    offered: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "constraints.txt").write_text("simplejpeg<1\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    assert "fits Python" in fallback(tmp_path / "wheels", caplog, {"simplejpeg": VERSION})
    assert offered.fetched == []


def test_a_python_without_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As uv makes them."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    assert "No module named pip" in fallback(tmp_path / "wheels", caplog)


def test_pip_never_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(image_wheels, "LONGEST_S", 0.01)
    assert "(pip was not done in 0 minutes)" in fallback(tmp_path, caplog)


def test_pure_python_fits_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pins = {"tyro": importlib.metadata.version("tyro")}
    assert fallback(tmp_path, caplog, pins).endswith("packed what is installed here, which fits any Python")
    caplog.clear()
    (wheel,) = fitting_wheels(pins, tmp_path)
    assert fitting(wheel.name) == ("tyro", pins["tyro"])
    assert not caplog.records, "and stays"


def test_what_can_neither_be_had_nor_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-thing: is not installed here"):
        fitting_wheels({"no-such-thing": "1.0"}, tmp_path / "wheels")
    assert list(tmp_path.iterdir()) == []

"""Installed packages become wheels: equal bytes each time, and pip takes them."""

import importlib.metadata
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from corolla.errors import UserError
from corolla.files import sha256
from corolla.kaggle.needs import PREDICTION_NEEDS, own_requirements
from corolla.kaggle.wheels import build_wheel, repack


def pip_target(wheel: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, timeout=120)
    return target


def run_isolated(target: Path, code: str, *arguments: str) -> str:
    """Runs `code` with `target` before everything else that Python finds."""
    start = f"import sys; sys.path.insert(0, {str(target)!r})\n"
    command = [sys.executable, "-I", "-c", start + code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pip_target(wheel, tmp_path_factory.mktemp("target"))


def test_own_wheel_installs_and_imports(installed: Path) -> None:
    code = "import corolla, importlib.metadata as m; print(corolla.__file__); print(m.version('corolla'))"
    file, version = run_isolated(installed, code).split()
    assert Path(file) == installed / "corolla" / "__init__.py"
    assert version == importlib.metadata.version("corolla")
    assert (installed / "bin" / "corolla").exists()
    assert run_isolated(installed, "from corolla.cli import run_command; run_command(['--version'])").split() == [
        version
    ]


def test_an_installed_corolla_makes_the_same_wheel(wheel: Path, installed: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from corolla.kaggle.wheels import build_wheel; print(build_wheel(Path(sys.argv[1])))"
    )
    again = Path(run_isolated(installed, code, str(tmp_path)).strip())
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_equal_content_gives_equal_bytes(wheel: Path, tmp_path: Path) -> None:
    assert sha256(build_wheel(tmp_path)) == sha256(wheel)


def test_the_wheel_needs_what_the_checkout_says_today(installed: Path) -> None:
    """Whatever stood in requirements.txt when it was installed."""
    code = "import importlib.metadata as m; print(*m.requires('corolla'), sep=chr(10))"
    needs = list(map(Requirement, run_isolated(installed, code).splitlines()))
    assert [need for need in needs if need.marker is None] == own_requirements()
    assert [need for need in needs if need.name == "ruff"], "the extras are there too"


def test_every_file_is_in_the_record(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read(next(name for name in archive.namelist() if name.endswith("/RECORD"))).decode()
        assert [line.split(",")[0] for line in record.splitlines()] == archive.namelist()
        assert not [name for name in archive.namelist() if "__pycache__" in name]
        assert any("/licenses/" in name for name in archive.namelist())


@pytest.mark.parametrize("name", ["simplejpeg", "annotated-types"])
def test_repack(name: str, tmp_path: Path) -> None:
    made = repack(name, tmp_path / "one")
    assert repack(name, tmp_path / "two").read_bytes() == made.read_bytes()
    found, version, _, _ = parse_wheel_filename(made.name)
    assert (found, str(version)) == (name, importlib.metadata.version(name))
    module = name.replace("-", "_")
    target = pip_target(made, tmp_path / "target")
    where = run_isolated(target, f"import {module}; print({module}.__file__)").strip()
    assert Path(where).is_relative_to(target)


def test_repacked_simplejpeg_decodes(tmp_path: Path) -> None:
    target = pip_target(repack("simplejpeg", tmp_path), tmp_path / "target")
    code = """
import numpy, simplejpeg
assert simplejpeg.__file__.startswith(sys.path[0])
print(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(numpy.zeros((8, 9, 3), 'uint8'))).shape)"""
    assert run_isolated(target, code).strip() == "(8, 9, 3)"


def test_every_wheel_that_prediction_needs_can_be_made(tmp_path: Path) -> None:
    for name in PREDICTION_NEEDS:
        assert parse_wheel_filename(repack(name, tmp_path).name)[0] == name


def test_console_scripts_stay_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(repack("tqdm", tmp_path)) as archive:  # it has a script and a manual page
        assert not [name for name in archive.namelist() if ".." in name or name.startswith(("/", "bin/"))]
        assert any(name.endswith("/entry_points.txt") for name in archive.namelist())


def fake_distribution(site: Path, *, editable: bool = False) -> None:
    info = site / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "thing.py").write_text("VALUE = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nBuild: 3\nTag: py2-none-any\nTag: py3-none-any\n")
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": editable}}))
    names = ["thing.py", "__pycache__/thing.cpython-311.pyc", "../../bin/thing"]
    names += [f"{info.name}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "direct_url.json")]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))


def test_an_editable_distribution_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(tmp_path / "site", editable=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(UserError, match="thing: is an editable installation"):
        repack("thing", tmp_path / "out")


def test_tags_build_number_and_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    made = repack("thing", tmp_path / "out")
    assert made.name == "thing-1.0-3-py2.py3-none-any.whl"
    with zipfile.ZipFile(made) as archive:
        info = "thing-1.0.dist-info"
        assert archive.namelist() == ["thing.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
    (tmp_path / "site" / "thing.py").unlink()
    with pytest.raises(UserError, match=r"thing\.py is gone"):
        repack("thing", tmp_path / "out")


def test_missing_distribution_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-thing: is not installed"):
        repack("no-such-thing", tmp_path)

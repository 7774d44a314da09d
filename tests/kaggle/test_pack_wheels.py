"""`corolla pack`: the folder of wheels, and the cells that install them in a notebook."""

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from package_index import PackageIndex

from corolla import cli
from corolla.errors import UserError
from corolla.files import sha256
from corolla.kaggle.image import PYTHON, fitting
from corolla.kaggle.needs import lacking_offline
from corolla.kaggle.pack_wheels import CELLS, MANIFEST, UPLOAD, pack_wheels

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "06-on-kaggle.ipynb"
VERSION = importlib.metadata.version("corolla")
OWN = f"corolla-{VERSION}-py3-none-any.whl"
BOUND = {"google-crc32c", "simplejpeg"}  # to a Python
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def made_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder packed where no index answers: of really installed distributions, which fit the Python of the tests."""
    return pack_wheels(tmp_path_factory.mktemp("packed") / "wheels").folder


@pytest.fixture
def offered(package_index: PackageIndex) -> PackageIndex:
    """All that Kaggle's image lacks."""
    for name, version in lacking_offline().items():
        package_index.add(name, version, "cp312-cp312-manylinux2014_x86_64" if name in BOUND else "py3-none-any")
    return package_index


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


def test_the_folder_is_flat_listed_and_for_kaggles_python(offered: PackageIndex, tmp_path: Path) -> None:
    packed = pack_wheels(tmp_path / "wheels")
    assert packed.wheels[0].name == OWN
    assert {fitting(wheel.name) for wheel in packed.wheels} == {("corolla", VERSION), *lacking_offline().items()}
    manifest = json.loads((packed.folder / MANIFEST).read_text())
    there = contents(packed.folder)
    assert {**manifest["files"], MANIFEST: there[MANIFEST]} == there
    assert (manifest["for"], manifest["python"]) == ("kaggle", PYTHON)
    assert len(offered.fetched) == len(packed.wheels) - 1


@pytest.mark.usefixtures("offered")
def test_equal_versions_are_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = contents(pack_wheels(tmp_path / "one").folder)
    assert contents(pack_wheels(tmp_path / "two").folder) == first
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert contents(pack_wheels(tmp_path / "one").folder) == first, "nothing is asked of an index"


def test_it_is_small(made_here: Path) -> None:
    assert sum(path.stat().st_size for path in made_here.iterdir()) < 30e6


@pytest.mark.usefixtures("offered")
def test_packed_again_it_holds_what_belongs_there_today(tmp_path: Path) -> None:
    folder = pack_wheels(tmp_path / "wheels").folder
    first = contents(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in ("corolla-0.0.1-py3-none-any.whl", "tyro-0.1-py3-none-any.whl"):
        (folder / name).write_bytes(b"of an earlier version")
        manifest["files"][name] = sha256(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / UPLOAD).write_text('{"id": "somebody/wheels"}')
    for name in (f".{OWN}.12.tmp", f".{OWN}.0a1b2c3d.12.0a1b2c3d.tmp"):
        (folder / name).write_bytes(b"of a pack that was killed")
    pack_wheels(folder)
    assert contents(folder) == {**first, UPLOAD: sha256(folder / UPLOAD)}


@pytest.mark.usefixtures("offered")
def test_a_pack_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    folder = pack_wheels(tmp_path / "wheels").folder
    first = contents(folder)
    (folder / MANIFEST).unlink()
    next(folder.glob("tyro-*")).unlink()
    assert contents(pack_wheels(folder).folder) == first


@pytest.mark.parametrize(
    "name",
    ["diary.txt", ".secret.tmp", ".notes.2024.tmp", "numpy-2.0.2-py3-none-any.whl", "corolla-0.0.1-py3-none-any.whl"],
)
def test_what_is_not_corollas_is_neither_uploaded_nor_deleted(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"{name}: corolla did not pack it, but it would be uploaded"):
        pack_wheels(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "wheels").write_text("")
    with pytest.raises(UserError, match="wheels: is a file; name a folder"):
        pack_wheels(tmp_path / "wheels")


def command(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["corolla", "pack", *map(str, words)])
        return cli.main()


def test_the_command_for_kaggle(made_here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--for", "kaggle", made_here) == 0
    said = capsys.readouterr()
    assert re.search(rf"^{made_here}: corolla-{VERSION}, .*\(\d\d\.\d MB\)$", said.out, re.MULTILINE)
    assert f"kaggle datasets create -p {made_here} " in said.out
    assert [line for line in said.out.splitlines() if "%pip" in line] == [
        f"    {CELLS['Kaggle, with internet']}",
        f"    {CELLS['Kaggle, without']}",
    ]
    if HERE != PYTHON:
        assert f"fits Python {HERE} only, not Kaggle's" in said.err


def test_the_command_for_colab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--for", "colab", tmp_path / "wheels") == 0
    said = capsys.readouterr()
    assert CELLS["Colab"] in said.out
    assert said.err == "", "no index is asked"
    assert sorted(path.name for path in (tmp_path / "wheels").iterdir()) == sorted([OWN, MANIFEST])


def test_the_pages_have_the_cells() -> None:
    page = (ROOT / "docs" / "kaggle.md").read_text(encoding="utf-8")
    assert re.findall(r"^    (%.*)$", page, re.MULTILINE) == list(CELLS.values())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^    (%.*)$", readme, re.MULTILINE) == [CELLS["Kaggle, with internet"]]
    settings = nbformat.read(NOTEBOOK, as_version=4).cells[1].source
    assert re.findall(r"^# (%.*)$", settings, re.MULTILINE) == list(CELLS.values())
    for text in (page, readme, NOTEBOOK.read_text(encoding="utf-8")):
        assert "OWNER" not in text.replace("datasets/OWNER", "")


@pytest.fixture(params=["{slug}", "datasets/somebody/{slug}"])
def attached(request: pytest.FixtureRequest, made_here: Path, tmp_path: Path) -> Iterator[Path]:
    """As Kaggle mounts a dataset, whose slug is the user's, beside other inputs; read-only."""
    root = tmp_path / "input"
    place = root / request.param.format(slug="flowers-and-wheels")
    for name in ("competitions/tpu-getting-started/tfrecords-jpeg-224x224/train", "another/deep/er/still"):
        (root / name).mkdir(parents=True)
    (root / "another" / "six-1.17.0-py2.py3-none-any.whl").write_bytes(b"no wheel of corolla's")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(made_here)
    root.chmod(0o555)
    yield root
    root.chmod(0o755)


def run_cell(
    cell: str, target: Path, *, at: Path, as_kaggles: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a cell as IPython does: pip of this Python, its arguments as the shell reads them."""
    magic, _, arguments = cell.replace(as_kaggles, shlex.quote(str(at))).partition(" ")
    assert magic == "%pip"
    environment = {**os.environ, "PIP_TARGET": str(target), **settings}
    line = f"{shlex.quote(sys.executable)} -m pip {arguments}"
    return subprocess.run(line, shell=True, check=False, capture_output=True, text=True, env=environment, timeout=120)


def imported(target: Path, *modules: str) -> list[Path]:
    code = f"import sys; sys.path.insert(0, {str(target)!r}); import {', '.join(modules)}\n"
    code += f"print(*(sys.modules[name].__file__ for name in {modules!r}), sep=chr(10))"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, timeout=120)
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_cell_without_internet(attached: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    done = run_cell(CELLS["Kaggle, without"], target, at=attached, as_kaggles="/kaggle/input")
    assert done.returncode == 0, done.stderr
    assert {path.name.partition("-")[0].replace("_", "-") for path in target.glob("*.dist-info")} == {
        "corolla",
        *lacking_offline(),
    }
    modules = ("corolla", "simplejpeg", "google_crc32c", "tyro", "typeguard", "docstring_parser")
    assert all(path.is_relative_to(target) for path in imported(target, *modules))


@pytest.mark.slow
def test_the_cell_with_internet(attached: Path, tmp_path: Path) -> None:
    """As far as it can be tried on loopback: what corolla needs is not fetched."""
    target = tmp_path / "site"
    done = run_cell(CELLS["Kaggle, with internet"], target, at=attached, as_kaggles="/kaggle/input", PIP_NO_DEPS="1")
    assert done.returncode == 0, done.stderr
    assert imported(target, "corolla")[0].is_relative_to(target)


def test_the_cell_for_colab(made_here: Path, tmp_path: Path) -> None:
    done = run_cell(CELLS["Colab"], tmp_path / "site", at=made_here, as_kaggles="/content", PIP_NO_DEPS="1")
    assert done.returncode == 0, done.stderr
    assert imported(tmp_path / "site", "corolla")[0].is_relative_to(tmp_path / "site")


@pytest.mark.parametrize("name", ["Kaggle, with internet", "Kaggle, without"])
def test_where_nothing_is_attached_no_index_is_asked_for_corolla(
    name: str, package_index: PackageIndex, tmp_path: Path
) -> None:
    """A stranger's package of that name must not be installed."""
    package_index.add("corolla", "99.0", "py3-none-any")
    (tmp_path / "input").mkdir()
    done = run_cell(CELLS[name], tmp_path / "site", at=tmp_path / "input", as_kaggles="/kaggle/input")
    assert done.returncode != 0
    assert "You must give at least one requirement to install" in done.stderr, "as docs/kaggle.md says"
    assert "corolla" not in package_index.asked


def test_ipython_leaves_the_cells_to_the_shell() -> None:
    """It would fill in {name} and $name of Python."""
    from IPython.utils.text import DollarFormatter

    for cell in CELLS.values():
        assert DollarFormatter().vformat(cell, (), {}) == cell

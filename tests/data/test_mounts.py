"""The competition's data under /kaggle/input, in each of its places."""

from pathlib import Path

import pytest
from support import write_data

from corolla.data.check import check
from corolla.data.mounts import mount_problem, mounted_data
from corolla.session import in_kaggle

SLUGS = ("tpu-getting-started", "flower-classification-with-tpus")
PLACES = [f"{middle}{slug}" for slug in SLUGS for middle in ("", "competitions/")]


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COROLLA_KAGGLE_INPUT", str(tmp_path))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    return tmp_path


def mount(folder: Path) -> Path:
    records = folder / "tfrecords-jpeg-224x224" / "train"
    records.mkdir(parents=True)
    (records / "00-224x224-798.tfrec").touch()
    return folder


def test_a_session_is_known_by_its_variable(mounts: Path, monkeypatch: pytest.MonkeyPatch):
    assert in_kaggle()
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    assert not in_kaggle()
    assert mount_problem() is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("competition", SLUGS)
def test_the_data_is_found_under_either_slug(mounts: Path, place: str, competition: str):
    folder = mount(mounts / place)
    assert mounted_data(competition) == folder
    assert mount_problem(competition) is None


@pytest.mark.parametrize("competition", SLUGS)
def test_what_was_asked_for_comes_first(mounts: Path, competition: str):
    for place in PLACES:
        mount(mounts / place)
    assert mounted_data(competition) == mounts / competition


def test_the_mounted_data_is_checked(mounts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_data(mounts / "tpu-getting-started")
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    result = check(Path("data"), None, progress=False)
    assert (result.folder, result.faults) == (folder, ())


def test_another_competition_is_not_taken_for_it(mounts: Path):
    mount(mounts / "tpu-getting-started")
    assert mounted_data("titanic") is None


def test_not_attached(mounts: Path):
    assert mounted_data() is None
    problem = mount_problem()
    assert problem is not None
    assert "not attached: Add Input" in problem
    assert "tpu-getting-started" in problem


@pytest.mark.parametrize("inside", ["", "tfrecords-jpeg-224x224/train"])
def test_attached_but_empty(mounts: Path, inside: str):
    folder = mounts / "competitions" / "tpu-getting-started"
    (folder / inside).mkdir(parents=True)
    assert mounted_data() is None
    problem = mount_problem()
    assert problem is not None
    assert problem.startswith(f"{folder} is attached but holds no TFRecords: restart the session")

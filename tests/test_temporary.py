"""Half-written files of killed processes go with the next command; what lives, or is not ours, stays."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corolla.files import replacing, write_atomically
from corolla.temporary import is_temporary, remove_leftovers, scratch_folder, temporary_folder, temporary_name

DAY_S = 24 * 3600.0


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def of(pid: int, name: str) -> str:
    """A temporary name as another process of this machine gives it."""
    return temporary_name(name).replace(f".{os.getpid()}.", f".{pid}.")


def elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A temporary name as this process would give it on another machine."""
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "another")
        return temporary_name(name)


def make(path: Path, *, days: float = 0.0) -> Path:
    """Write a file, or a folder with a file in it, that was last touched so many days ago."""
    inside = path
    if ".import" in path.name or ".synthetic" in path.name:
        inside = path / "tfrecords-jpeg-32x32" / "train" / ".00-32x32-1.tfrec.12.tmp"
        inside.parent.mkdir(parents=True)
    inside.write_bytes(b"half")
    when = time.time() - days * DAY_S
    for each in (inside, *inside.parents):
        os.utime(each, (when, when))
        if each == path:
            break
    return path


def left(folder: Path, *earlier: str) -> list[str]:
    remove_leftovers(folder, *earlier)
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["last.pt", "a.b c.csv", "x" * 200, ".hidden", "7.tmp", "ä[x]*.png", "import-"])
def test_what_a_dead_process_left_goes_and_what_a_live_one_writes_stays(
    name: str, dead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = elsewhere(name, monkeypatch)
    kept = [temporary_name(name), of(1, name), other, other.replace(f".{os.getpid()}.", f".{dead}.")]
    for each in [*kept, of(dead, name)]:
        make(tmp_path / each)
    assert left(tmp_path) == sorted(kept), "a number that is free here may be taken on another machine"


def test_after_a_day_it_goes_wherever_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [elsewhere("best.pt", monkeypatch), of(1, "best.pt"), ".best.pt.7.tmp", ".best.pt.7.0a1b2c3d.tmp"]
    names += [".import-k3_x9abc", ".synthetic-abcdefgh"]
    for name in names:
        make(tmp_path / name, days=0.9)
    assert left(tmp_path, "*.pt") == sorted(names)
    then = time.time() - 1.1 * DAY_S
    for path in tmp_path.rglob("*"):
        os.utime(path, (then, then))
    (spool := tmp_path / names[-1] / "spool").touch()
    assert left(tmp_path) == sorted(names[2:4] + names[-1:]), "not by its name alone, and not while it is written to"
    os.utime(spool, (0, 0))
    os.utime(spool.parent, (0, 0))
    assert left(tmp_path, "*.pt") == []


USERS = [".secret.tmp", ".notes.2024.tmp", "last.pt.12.tmp", ".last.pt.tmp", ".last.pt.12.tmp.bak", ".lock", "7.tmp"]
USERS += [".data.parquet.12.0a1b2c3d.tmp", ".import-settings", ".import.lock", ".synthetic-my", "best.pt"]


def test_files_of_others_stay_however_old_they_are(tmp_path: Path) -> None:
    for name in USERS:
        make(tmp_path / name, days=400) if "-" not in name else (tmp_path / name).mkdir()
    (tmp_path / ".import-settings" / "mine.toml").write_text("")
    os.utime(tmp_path / ".import-settings" / "mine.toml", (0, 0))
    os.utime(tmp_path / ".import-settings", (0, 0))
    assert left(tmp_path, "*.pt", "*.json") == sorted(USERS)
    assert (tmp_path / ".import-settings" / "mine.toml").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="told by /proc")
def test_a_process_that_was_not_waited_for_is_dead(tmp_path: Path) -> None:
    """As where the first process of a container waits for none."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    make(tmp_path / of(process.pid, "last.pt"))
    assert left(tmp_path) == []
    process.wait()


def test_a_link_goes_and_not_what_it_leads_to(dead: int, tmp_path: Path) -> None:
    (mine := tmp_path / "mine").mkdir()
    (mine / "photo.jpg").touch()
    (tmp_path / of(dead, "import-")).symlink_to(mine)
    (tmp_path / of(dead, "a.csv")).symlink_to(mine / "photo.jpg")
    assert left(tmp_path) == ["mine"]
    assert (mine / "photo.jpg").exists()


def test_a_folder_that_is_missing_or_a_file_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remove_leftovers(tmp_path / "missing")
    remove_leftovers(tmp_path / "file")


@pytest.mark.parametrize("name", ["report.html", "a [1].csv", "x.png"])
def test_the_next_write_of_a_file_removes_what_a_kill_left(name: str, dead: int, tmp_path: Path) -> None:
    make(tmp_path / of(dead, name))
    make(tmp_path / of(dead, "of another.json"))
    make(tmp_path / f".{name}.12.tmp", days=2)
    make(tmp_path / ".others.json.12.tmp", days=2)
    write_atomically(tmp_path / name, b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".others.json.12.tmp", name])


def test_a_folder_is_there_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, "import") as folder, replacing(tmp_path / "classes.txt") as temporary:
        assert is_temporary(folder.name)
        assert folder.name.startswith(".import-")
        assert is_temporary(temporary.name)
        (folder / "spool").touch()
        temporary.touch()
        remove_leftovers(tmp_path)
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["classes.txt"]


def test_what_a_kill_left_among_the_systems_temporary_files_goes(
    dead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed TFRecords that were unpacked there may be as large as a data set."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left_behind = tmp_path / of(dead, "corolla-import-")
    left_behind.mkdir()
    (left_behind / "0.tfrec").write_bytes(b"half")
    others = make(tmp_path / "corolla-import-notes", days=9)
    with scratch_folder("photos") as first, scratch_folder("import") as second:
        (second / "0.tfrec").write_bytes(b"whole")
        assert {path.name for path in tmp_path.iterdir()} == {others.name, first.name, second.name}
    assert list(tmp_path.iterdir()) == [others]


def commands(data: Path, tmp_path: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """The folder into which each stage writes, and how it does it."""
    from corolla.data.cache import use_cache
    from corolla.data.dataset import TFRecordDataset
    from corolla.data.index import load_index
    from corolla.runs.folder import exclusive

    def hold() -> None:
        with exclusive(tmp_path / "run"):
            pass

    def build() -> None:
        use_cache([TFRecordDataset(load_index(data, None), "val")], "decoded", tmp_path / "cache")

    return {
        "run": (tmp_path / "run", hold),
        "predictions": (tmp_path / "run" / "predictions", hold),
        "decoded": (tmp_path / "cache" / "decoded", build),
        "index": (tmp_path / "index", lambda: load_index(data, None, tmp_path / "index")),
    }


@pytest.mark.parametrize("stage", ["run", "predictions", "decoded", "index"])
def test_a_stage_removes_what_a_killed_one_left(stage: str, dead: int, tiny_data: Path, tmp_path: Path) -> None:
    folder, work = commands(tiny_data, tmp_path)[stage]
    folder.mkdir(parents=True)
    left_behind = [make(folder / of(dead, name)) for name in ("last.pt", "train-32-abc.pixels", "synthetic-")]
    mine = [make(folder / name, days=9) for name in (".secret.tmp", ".notes.2024.tmp")]
    alive = make(folder / temporary_name("val-none.npz"))
    work()
    assert not any(path.exists() for path in left_behind)
    assert all(path.exists() for path in [*mine, alive])


def test_pixels_that_a_kill_left_go_also_where_nothing_is_built(dead: int, tiny_data: Path, tmp_path: Path) -> None:
    """They may be gigabytes, of other data than these."""
    folder, work = commands(tiny_data, tmp_path)["decoded"]
    work()
    before = sorted(folder.iterdir())
    make(folder / of(dead, "train-224-0123.pixels"))
    make(folder / ".train-224-0123.pixels.12.0a1b2c3d.tmp", days=2)
    work()
    assert sorted(folder.iterdir()) == before

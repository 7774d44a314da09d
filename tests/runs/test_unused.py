"""Folders of runs that were refused or killed at once go; what holds anything, is held or is young stays."""

import dataclasses
import os
import threading
import time
from pathlib import Path

import pytest

from corolla.config import Config
from corolla.errors import UserError
from corolla.files import locked
from corolla.runs.folder import exclusive
from corolla.training.train import train


def begun(folder: Path, *, days: float, content: bytes = b"") -> Path:
    """A run's folder with a lock alone."""
    folder.mkdir(parents=True)
    (folder / ".lock").write_bytes(content)
    when = time.time() - days * 24 * 3600
    os.utime(folder / ".lock", (when, when))
    return folder


def test_what_was_refused_leaves_no_folder(tiny_config: Config) -> None:
    with pytest.raises(UserError, match="there is no checkpoint"):
        train(dataclasses.replace(tiny_config, init_from=Path("nowhere.pt"), runs=tiny_config.runs / "new" / "deep"))
    assert not (tiny_config.runs / "new").exists()
    with exclusive(tiny_config.runs / "kept") as _:
        (tiny_config.runs / "kept" / "config.json").touch()
    assert {path.name for path in (tiny_config.runs / "kept").iterdir()} == {".lock", "config.json"}


def test_what_a_kill_left_goes_a_day_later(tmp_path: Path) -> None:
    gone = begun(tmp_path / "gone", days=2)
    stay = [begun(tmp_path / "young", days=0.5), begun(tmp_path / "of others", days=2, content=b"1234")]
    stay += [begun(tmp_path / "with predictions", days=2), begun(tmp_path / "held", days=2)]
    (stay[2] / "predictions").mkdir()
    with locked(stay[3] / ".lock"), exclusive(tmp_path / "now"):
        assert not gone.exists()
        assert all(folder.is_dir() for folder in stay)
        with locked(stay[3] / ".lock", wait=False) as granted:
            assert not granted, "to look at a lock of this process must not drop it"


def test_a_lock_that_was_removed_while_it_was_waited_for_is_made_anew(tmp_path: Path) -> None:
    """Else two would hold two files of one name."""
    lock = tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(lock):
            held.set()
            free.wait(10)
            lock.unlink()
            lock.parent.rmdir()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    with locked(lock, waiting=free.set) as granted:
        assert granted
        assert lock.exists()
    thread.join()

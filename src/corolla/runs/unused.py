"""Removes the folders of runs that were refused or killed at once: nothing is in them but a lock."""

import contextlib
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from corolla.files import is_locked, locked
from corolla.temporary import DAY_S

LOCK = ".lock"
"""Name of the lock in a run's folder."""


def is_unused(lock: Path) -> bool:
    """Return whether there is nothing in a lock's folder but this empty file."""
    with contextlib.suppress(OSError):
        facts = lock.lstat()
        return stat.S_ISREG(facts.st_mode) and not facts.st_size and [*lock.parent.iterdir()] == [lock]
    return False


def remove_unused(lock: Path) -> None:
    """Remove the folder of a lock that this process holds, if nothing else is in it.

    Whoever has opened the lock by now sees that it is gone (files.py) and makes both anew.
    """
    with contextlib.suppress(OSError):
        if is_unused(lock):
            lock.unlink()
            lock.parent.rmdir()


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, as far as nothing is in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def remove_unused_beside(folder: Path) -> None:
    """Remove the unused folders beside a run's that nobody holds, a day after they were made."""
    with contextlib.suppress(OSError):
        for lock in folder.parent.glob(f"*/{LOCK}"):
            is_old = is_unused(lock) and lock.stat().st_mtime < time.time() - DAY_S
            if lock.parent != folder and is_old and not is_locked(lock):
                with locked(lock, wait=False) as granted:
                    if granted:
                        remove_unused(lock)

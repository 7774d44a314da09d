"""Files that are whole or not there, also after a crash, and a lock that one process at a time holds."""

import errno
import glob
import hashlib
import logging
import lzma
import os
import re
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from corolla.temporary import remove_leftovers, temporary_name

log = logging.getLogger(__name__)

ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError, OverflowError),
    IndexError,
)
"""Errors of zipfile on a damaged file: a flipped bit may also ask for a password or a method that is not there, or make
a name empty (IndexError)."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; it is flushed and renamed to `path` when the block succeeds.

    What a kill has left of earlier ones is removed.

    Raises:
        OSError: a folder has this name, or nothing can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; the name of a file to write is expected", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, glob.escape(path.name))
    temporary = path.with_name(temporary_name(path.name))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Make `content` the whole of `path`, or leave `path` as it was; a device, such as /dev/stdout, just gets it."""
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts names with '2' before '10', and else by letters whatever their case."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Return whether a file is there; also of a name that is too long, where Path.is_file() raises."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Return whether a folder is there, as `is_file` does."""
    return os.path.isdir(path)  # noqa: PTH112


def is_zip(file: Path | BinaryIO) -> bool:
    """Return whether a file is a zip by its end, also one whose end is damaged so that zipfile refuses to look on."""
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:
        return True


def zip_fault(path: Path) -> str | None:
    """Return what is damaged in a zip, such as a .pt or an .npz, by its checksums; None where all agree.

    torch and numpy do not look at them. What is no zip at all is for the reader to refuse. The file is opened once: a
    run that goes on replaces its checkpoint by the next one at any time.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        return _fault_of(file) if is_zip(file) else None


def _fault_of(file: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(file) as parts:
            name, found = parts.testzip(), len(parts.namelist())
            marked = [part.filename for part in parts.infolist() if part.external_attr & 0x10 and not part.is_dir()]
    except ZIP_FAULTS as error:
        return str(error) or type(error).__name__
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # None: of bz2, as which a flipped bit has a part unpacked
            raise
        return str(error) if error.errno is None else "its end points outside of it"
    if name is not None:
        return f"{_escaped(name)} has another checksum"
    if marked:  # torch then takes whatever its memory held before
        return f"{_escaped(marked[0])} is marked as a folder"
    file.seek(0)
    if file.read(2) != b"PK":  # zipfile looks for its parts from the end on, torch from the beginning
        return "other bytes stand before its first part"
    # An entry whose length is damaged swallows those behind it, and zipfile does not miss them.
    file.seek(-22, os.SEEK_END)
    signature, told = struct.unpack("<4s6xH10x", file.read())
    is_told = signature == b"PK\5\6" and told < 0xFFFF  # no comment, and not so many that they stand elsewhere
    return f"its directory tells of {told} parts and holds {found}" if is_told and told != found else None


def _escaped(name: str) -> str:
    """Return the name of a part for a message of one line: damage makes it any bytes."""
    return name if name.isprintable() else name.encode("unicode_escape", "backslashreplace").decode()


_held: dict[Path, int] = {}  # what this process (its id) has locked: the system would grant it again
_guard = threading.Lock()


@contextmanager
def locked(
    path: Path,
    *,
    wait: bool = True,
    waiting: Callable[[], None] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made where it is missing, and yield whether it was to be had.

    A POSIX record lock: it belongs to this process alone, so it dies with it, also when workers that were forked from
    it live on for a moment (a BSD lock would live on in them). Where the file system or the platform has no locks, it
    is granted with a warning.

    Args:
        wait: for another holder; else False is yielded at once.
        waiting: called once, before the wait begins.
        stopped: ends the wait, with False.
    """
    place = path.resolve()
    has_waited = False
    while (file := _lock(place)) is None and wait and not stopped():
        if not has_waited:
            waiting()
            has_waited = True
        time.sleep(0.1)
    try:
        yield file is not None
    finally:
        if file is not None:
            with _guard:  # a thread that took it in between would lose it with this file
                file.close()
                _held.pop(place, None)


def is_held_here(path: Path) -> bool:
    """Return whether this very process holds the lock of a file."""
    return _held.get(path.resolve()) == os.getpid()  # a forked worker has a copy of the table, and no lock


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; asked by trying a lock that would not shut it out."""
    with _guard:
        if is_held_here(path):  # to open and close the file would drop our own lock
            return True
        try:
            import fcntl

            file = path.open("r")
        except (ModuleNotFoundError, OSError):  # not POSIX; no such file, or one that this process may not read
            return False
        with file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return error.errno in (errno.EACCES, errno.EAGAIN)
            return False


def _lock(place: Path) -> IO[str] | None:
    """Try once and return the open file; None where another process, or another thread of this one, has it."""
    with _guard:
        if _held.get(place) == os.getpid():  # and is not opened: to close it again would drop the lock
            return None
        file = _open_lock(place)
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            while not _is_at(file, place):  # its last holder has removed it: who makes it anew would hold another one
                file.close()
                file = _open_lock(place)
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:
            log.warning("%s: this platform has no file locks; take care that nothing else writes there", place.parent)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.close()
                return None
            log.warning("%s: this file system has no locks (%s); work there only once", place.parent, error.strerror)
        _held[place] = os.getpid()
        return file


def _open_lock(place: Path) -> IO[str]:
    """Open the file of a lock, which may have been removed with its folder by the last holder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return place.open("a")


def _is_at(file: IO[str], place: Path) -> bool:
    """Return whether an open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), place.stat())
    except FileNotFoundError:
        return False

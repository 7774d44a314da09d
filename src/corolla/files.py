"""Writing files so that whoever reads next, after a crash too, finds the old content or the new, never half of it."""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; flushed to the disk and renamed to `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """`content` becomes the whole of `path`, or `path` stays as it was."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def only_one(path: Path, stopped: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Wait until no other process is in this block with the same `path`; False if `stopped` said so meanwhile.

    A POSIX record lock, which dies with its process; where the file system has none, nobody waits.
    """
    with path.open("a") as file:
        while not stopped():
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    time.sleep(0.1)
                    continue
            yield True
            return
        yield False

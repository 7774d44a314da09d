"""Names of files and folders that are being written, and the removal of those that a killed process has left."""

import contextlib
import fnmatch
import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAY_S = 24 * 3600.0
_TEMPORARY = re.compile(r"\..+[.-](?P<host>[0-9a-f]{8})\.(?P<pid>\d{1,9})\.[0-9a-z_]{8}\.tmp")
_EARLIER_FILE = re.compile(r"\.(?P<name>.+?)\.\d+(\.[0-9a-f]{8})?\.tmp")  # without the host, of corolla 0.1
_EARLIER_FOLDER = re.compile(r"\.(import|synthetic)-[0-9a-z_]{8}")
_IN_EARLIER_FOLDER = re.compile(r"spool|tfrecords-jpeg-\d+x\d+|sample_submission\.csv|test_labels\.csv")


def temporary_name(name: str) -> str:
    """Return the name of a file that will be called `name`: hidden, and with this machine and process in it.

    Its last part is random: processes of two machines may have the same id, and threads of one process have.
    """
    return f".{name}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a hidden folder in `parent`, which is removed at the end with what is left in it."""
    with tempfile.TemporaryDirectory(prefix=f".{name}-{_host()}.{os.getpid()}.", suffix=".tmp", dir=parent) as folder:
        yield Path(folder)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Yield a folder among the system's temporary ones (TMPDIR), which is removed at the end with what is left in it.

    What a kill has left of earlier ones is removed: they may hold a data set.
    """
    parent = Path(tempfile.gettempdir())
    remove_leftovers(parent)
    with temporary_folder(parent, f"corolla-{name}") as folder:
        yield folder


def is_temporary(name: str, *earlier: str) -> bool:
    """Return whether a file of this name is half-written, `earlier` as in `remove_leftovers`."""
    return bool(_TEMPORARY.fullmatch(name)) or _is_earlier(name, earlier)


def _is_earlier(name: str, earlier: tuple[str, ...]) -> bool:
    match = _EARLIER_FILE.fullmatch(name)
    return match is not None and any(fnmatch.fnmatchcase(match["name"], each) for each in earlier)


def remove_leftovers(folder: Path, *earlier: str) -> None:
    """Remove what killed processes have left half-written in `folder`; call it under the folder's lock, if it has one.

    What has the name of this machine and of a process that is dead goes at once, everything else a day after it was
    last written to. Nothing that was not written by corolla is touched, nor is there an error where this one may not.

    Args:
        earlier: names (patterns such as *.pt) that corolla gives to files in this folder, whose temporary names did
            not tell the machine in earlier versions.
    """
    host = _host()
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            with contextlib.suppress(OSError):  # another process has removed it, or it may not be
                if _is_left(path, earlier, host):
                    _remove(path)


def _is_left(path: Path, earlier: tuple[str, ...], host: str) -> bool:
    if match := _TEMPORARY.fullmatch(path.name):
        return (match["host"] == host and not _is_alive(int(match["pid"]))) or _is_a_day_old(path)
    if _is_earlier(path.name, earlier):
        return _is_a_day_old(path)
    if not _EARLIER_FOLDER.fullmatch(path.name) or path.is_symlink():
        return False
    return all(_IN_EARLIER_FOLDER.fullmatch(each.name) for each in path.iterdir()) and _is_a_day_old(path)


def _is_a_day_old(path: Path) -> bool:
    """Return whether nothing was written to a file, or into a folder, for a day."""
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    return max(each.lstat().st_mtime for each in (path, *inside)) < time.time() - DAY_S


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _host() -> str:
    """Return eight letters for this machine, or the container, outside of which its process ids mean nothing."""
    processes = ""
    with contextlib.suppress(OSError):  # Linux alone has it; the name of a machine is that of its containers too
        processes = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(os.fsencode(f"{socket.gethostname()} {processes}")).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs; one that has ended and was not waited for does not."""
    if os.name != "posix":  # elsewhere this signal would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):  # Linux alone has it
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True

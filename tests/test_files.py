"""Files that are whole or not there, and the one file lock, held by real processes."""

import contextlib
import errno
import hashlib
import io
import os
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from support import corolla_process

from corolla.files import is_held_here, is_locked, is_zip, locked, replacing, sha256, write_atomically, zip_fault

HOLD = """
import sys, time
from pathlib import Path
from corolla.files import locked

with locked(Path(sys.argv[1]), wait=False) as granted:
    print("held" if granted else "refused", flush=True)
    time.sleep(60)
"""

HOLD_AND_FORK = """
import os, sys, time
from pathlib import Path
from corolla.files import locked

with locked(Path(sys.argv[1])) as granted:
    worker = os.fork()
    if worker == 0:
        time.sleep(60)
        os._exit(0)
    print(worker, flush=True)
    time.sleep(60)
"""

TRY = """
import sys
from pathlib import Path
from corolla.files import is_locked, locked

path = Path(sys.argv[1])
print(is_locked(path))
with locked(path, wait=False) as granted:
    print(granted)
"""


@contextmanager
def holder(path: Path) -> Iterator[int]:
    """Another process that holds the lock; its number."""
    with corolla_process([sys.executable, "-c", HOLD, str(path)]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid


def tried_elsewhere(path: Path) -> tuple[bool, bool]:
    """Return two things that another process finds: the file is locked, and its lock can be had."""
    with corolla_process([sys.executable, "-c", TRY, str(path)]) as process:
        lines = process.communicate(timeout=60)[0].splitlines()
    return lines[0] == "True", lines[1] == "True"


def test_one_process_at_a_time_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with holder(path), locked(path, wait=False) as granted:
        assert not granted
        assert is_locked(path)
        assert not is_held_here(path)
    with locked(path, wait=False) as granted:
        assert granted
        assert is_held_here(path)
        assert tried_elsewhere(path) == (True, False)
    assert not is_held_here(path)
    assert tried_elsewhere(path) == (False, True)


def test_it_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as number:
        assert is_locked(path)
        os.kill(number, signal.SIGKILL)
        with locked(path, stopped=after(20)) as granted:
            assert granted
    assert not is_locked(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_it_dies_with_its_process_though_workers_live_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with corolla_process([sys.executable, "-c", HOLD_AND_FORK, str(path)]) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        try:
            assert is_locked(path)
            process.kill()
            process.wait()
            os.kill(worker, 0)  # still there
            with locked(path, wait=False) as granted:
                assert granted
        finally:
            os.kill(worker, signal.SIGKILL)


def after(seconds: float):
    """A `stopped` that ends a wait which should not have been so long."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_a_wait_is_told_once_and_ends_with_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    told: list[bool] = []
    with holder(path) as number:
        threading.Timer(0.5, os.kill, (number, signal.SIGKILL)).start()
        with locked(path, waiting=lambda: told.append(is_locked(path)), stopped=after(20)) as granted:
            assert granted
    assert told == [True]


def test_a_free_lock_is_had_without_a_wait(tmp_path: Path) -> None:
    told: list[int] = []
    with locked(tmp_path / "lock", waiting=lambda: told.append(1), stopped=lambda: True) as granted:
        assert granted
    assert told == []


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    asked = iter([False, False, True])
    with holder(path):
        with locked(path, stopped=lambda: next(asked)) as granted:
            assert not granted
        assert is_locked(path)


def test_a_second_thread_waits_for_the_first(tmp_path: Path) -> None:
    """To the system both are one process, which it would let in."""
    path = tmp_path / "lock"
    events: list[str] = []

    def second() -> None:
        with locked(path, wait=False) as granted:
            events.append(f"second: {granted}")
        with locked(path, waiting=lambda: events.append("second waits"), stopped=after(20)) as granted:
            events.append(f"second: {granted}")

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        while events[-1:] != ["second waits"]:
            time.sleep(0.01)
        assert tried_elsewhere(path) == (True, False)  # the second's attempts have not dropped it
        events.append("first is done")
    thread.join()
    assert events == ["second: False", "second waits", "first is done", "second: True"]


def test_threads_never_hold_it_together(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(30):
            with locked(path, wait=False) as granted:
                if granted:
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


def test_asking_does_not_drop_it(tmp_path: Path) -> None:
    """Closing the file would, whoever of the process opened it."""
    path = tmp_path / "lock"
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with locked(path) as granted:
        assert granted
        assert is_locked(path)
        assert is_locked(tmp_path / "link" / "lock")
        assert is_held_here(tmp_path / "link" / "lock")
        with locked(tmp_path / "link" / "lock", wait=False) as again:
            assert not again
        assert tried_elsewhere(path) == (True, False)
    assert tried_elsewhere(path) == (False, True)


def test_an_error_inside_lets_go_of_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    assert tried_elsewhere(path) == (False, True)


def test_without_locks_it_is_granted_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with locked(tmp_path / "lock", wait=False) as granted:
        assert granted
        with locked(tmp_path / "lock", wait=False) as again:  # this process knows of itself still
            assert not again
    assert caplog.messages == [
        f"{tmp_path}: this file system has no locks ({os.strerror(errno.ENOLCK)}); work there only once"
    ]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            assert path.read_bytes() == b"old"
            raise KeyError

    write_atomically(path, b"old")
    assert path.read_bytes() == b"old"
    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_gets_the_content_and_is_not_replaced(tmp_path: Path) -> None:
    """As /dev/stdout must not be, which a superuser could."""
    os.mkfifo(path := tmp_path / "pipe")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(path, b"a,b\n")
    assert os.read(reader, 10) == b"a,b\n"
    os.close(reader)
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_files_hash(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_two_writers_of_one_file_have_temporary_names_of_their_own(tmp_path: Path) -> None:
    """As two containers whose processes have the same id, or two threads."""
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        assert {first.name[:6], second.name[:6]} == {".file."}
        first.write_bytes(b"one")
        second.write_bytes(b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("byte", range(1, 99))
def test_a_damaged_end_of_a_zip_is_a_fault_or_no_zip(byte: int, tmp_path: Path) -> None:
    """The last bytes that torch writes: the end of the directory, its locator (zip64) and that record."""
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.arange(4.0)}, path)
    content = bytearray(path.read_bytes())
    content[-byte] ^= 1
    path.write_bytes(content)
    fault = zip_fault(path)
    if is_zip(path) and fault is None:  # torch sees it, or nobody reads it, such as the version that wrote the file
        with contextlib.suppress(RuntimeError):
            assert torch.equal(torch.load(path, weights_only=True)["weight"], torch.arange(4.0))


def test_a_zip_that_is_replaced_while_it_is_read_is_no_damaged_one(tmp_path: Path) -> None:
    """As the checkpoint of a run that goes on, whose later ones hold an optimizer's state, too."""
    path, stop = tmp_path / "last.pt", threading.Event()
    contents = [_zip_of(num_parts) for num_parts in (3, 40)]
    write_atomically(path, contents[0])

    def replace_it_again_and_again() -> None:
        while not stop.is_set():
            for content in contents:
                write_atomically(path, content)

    with ThreadPoolExecutor(1) as pool:
        replacing_it = pool.submit(replace_it_again_and_again)
        faults = {zip_fault(path) for _ in range(300)}
        stop.set()
        replacing_it.result()
    assert faults == {None}


def _zip_of(num_parts: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as parts:
        for number in range(num_parts):
            parts.writestr(f"part-{number}", bytes(1000))
    return file.getvalue()

"""Work in threads: in order, on every core, and with no more in memory than asked for."""

import os
import threading
from pathlib import Path

import pytest

from corolla.parallel import hidden, map_in_threads, num_cores


def quota(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """A machine of eight cores, and what its cgroup says."""

    def read_text(path: Path, *args: object, **options: object) -> str:
        assert path == Path("/sys/fs/cgroup/cpu.max")
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", read_text)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", 8), (None, 8), ("200000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000\n", 8), ("", 8)],
)
def test_cores_are_those_of_the_container(text: str | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quota(monkeypatch, text)
    found = num_cores()
    monkeypatch.undo()
    assert found == cores


def test_results_come_in_order_whatever_is_ready_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first item waits for the second, so they are under way at the same time."""
    monkeypatch.setattr("corolla.parallel.num_cores", lambda: 2)
    second_done = threading.Event()

    def double(item: int) -> int:
        if item == 0:
            assert second_done.wait(20)
        if item == 1:
            second_done.set()
        return 2 * item

    assert list(map_in_threads(double, range(10), title="double", progress=False)) == list(range(0, 20, 2))


@pytest.mark.parametrize(("number", "batch"), [(0, 4), (1, 4), (4, 4), (11, 4), (3, 1)])
def test_every_item_once(number: int, batch: int) -> None:
    done: list[int] = []
    found = map_in_threads(done.append, range(number), title="all", progress=False, batch=batch)
    assert list(found) == [None] * number
    assert sorted(done) == list(range(number))


def test_only_a_batch_of_results_waits_in_memory() -> None:
    started: list[int] = []
    found = map_in_threads(started.append, range(100), title="some", progress=False, batch=5)
    for _ in range(3):
        next(found)
    assert len(started) <= 5
    found.close()
    assert len(started) <= 5


def test_an_error_reaches_the_caller_at_its_item() -> None:
    def half(item: int) -> int:
        if item % 2:
            raise ValueError(f"{item} is odd")
        return item // 2

    found = map_in_threads(half, [4, 2, 3, 6], title="half", progress=False)
    assert (next(found), next(found)) == (2, 1)
    with pytest.raises(ValueError, match="3 is odd"):
        next(found)


def test_a_bar_is_for_terminals_and_whoever_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert hidden(True) is None  # tqdm looks for itself
    assert hidden(False) is True
    for progress in (True, False):
        list(map_in_threads(str, range(3), title="bar", progress=progress))
    assert capsys.readouterr().err == ""

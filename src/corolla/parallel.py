"""Work on all cores in threads, with a progress bar; for functions that let go of Python's lock (decoding, hashing)."""

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 512  # items handed to the threads at a time, which bounds the results that wait in memory


def num_cores() -> int:
    """Return how many cores this process may use: a container's share, not the machine's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # a container's quota (cgroup v2): microseconds of computing per period, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def hidden(progress: bool) -> bool | None:
    """Return `disable` of a tqdm bar: None, with `progress`, hides it only where stderr is no terminal."""
    return None if progress else True


def map_in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    title: str,
    unit: str = "img",
    progress: bool = True,
    batch: int = BATCH,
) -> Generator[Result, None, None]:
    """Yield `function` of every item, in order, computed on all cores under a progress bar called `title`."""
    with (
        ThreadPoolExecutor(num_cores()) as pool,
        tqdm(total=len(items), desc=title, unit=unit, leave=False, disable=hidden(progress)) as bar,
    ):
        for start in range(0, len(items), batch):
            for result in pool.map(function, items[start : start + batch]):
                yield result
                bar.update()

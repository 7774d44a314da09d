"""One property of a reader, in two lengths: a few inputs in the fast tests, many in the slow ones.

They are the same in every run, so that a change is told by a failure; COROLLA_FUZZ_ANEW=1 draws others, to find more.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import Fuzz

SECONDS = 10  # of processor time, for a file of a few KiB
MEMORY = 512 << 20  # bytes more than before
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@pytest.fixture(params=["fast", pytest.param("slow", marks=pytest.mark.slow)])
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    """Return `fuzz(check, inputs, fast=20, slow=2000)`, which holds a check against so many inputs.

    Each must be done within a bound of time and memory. `known=[...]`: inputs that were found so before their mend.
    """

    def run(
        check: Callable[[Any], object],
        inputs: st.SearchStrategy[Any],
        *,
        fast: int,
        slow: int,
        known: Iterable[Any] = (),
    ) -> None:
        is_fast = request.param == "fast"

        @settings(
            max_examples=fast if is_fast else slow,
            derandomize=is_fast or "COROLLA_FUZZ_ANEW" not in os.environ,
            database=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(inputs)
        def holds(value: Any) -> None:
            with bounded():
                check(value)

        for value in known:
            with bounded():
                check(value)
        holds()

    return run


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail where the block takes more time or memory than a small file may; memory is measured on Linux alone."""
    before = _memory("VmRSS")
    if before:
        RESET.write_text("5")  # from here on counts the peak (proc(5))
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS
    assert _memory("VmHWM") - before < MEMORY


def _memory(key: str) -> int:
    if not RESET.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) << 10

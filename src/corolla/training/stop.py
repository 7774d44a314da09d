"""Reasons to stop early: SIGTERM, Ctrl-C, the time budget. The step under way is finished and a checkpoint saved."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from corolla.session import in_kaggle

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# Kaggle ends a session after so many hours, and what a notebook has not saved by then is lost.
KAGGLE_HOURS, KAGGLE_TPU_HOURS = 12.0, 9.0
KAGGLE_MARGIN_HOURS = 0.5
"""For the evaluation under way, for predicting, and for saving the notebook's output."""
LEAST_HOURS = 0.05
ECHO_S = 5.0
"""How long a SIGTERM counts as the one before: what is sent to a process group, torchrun sends on to its processes."""
_TPU_SIGNS = ("TPU_NAME", "TPU_ACCELERATOR_TYPE", "TPU_WORKER_HOSTNAMES", "ISTPUVM")


class Budget(NamedTuple):
    hours: float | None
    """None: no limit."""
    note: str | None
    """A line for the user, who did not ask for it."""


def session_hours(proc: Path = Path("/proc")) -> float:
    """Return for how many hours process 1 has run, which in a notebook is its session; 0 where that cannot be read."""
    try:
        start_ticks = int((proc / "1" / "stat").read_text().rpartition(")")[2].split()[19])  # since boot; proc(5)
        uptime_s = float((proc / "uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, uptime_s - start_ticks / os.sysconf("SC_CLK_TCK")) / 3600  # /proc is Linux, which has sysconf


def time_budget(
    max_hours: float | None, *, environ: Mapping[str, str] = os.environ, used: Callable[[], float] = session_hours
) -> Budget:
    """Return `max_hours` if it was given; else, inside a Kaggle notebook, what its session has left, less a margin."""
    if max_hours is not None or not in_kaggle(environ):
        return Budget(max_hours, None)
    limit = KAGGLE_TPU_HOURS if any(environ.get(sign) for sign in _TPU_SIGNS) else KAGGLE_HOURS
    past = used()
    left = limit - past - KAGGLE_MARGIN_HOURS
    session = f"Kaggle ends a session after {limit:g} h and {past:.1f} h of this one are over"
    if left < LEAST_HOURS:
        return Budget(
            LEAST_HOURS,
            f"{session}: training stops after {LEAST_HOURS * 60:g} min, as there is hardly time left for saving; "
            "start a new session, or change it with --train.max-hours",
        )
    return Budget(
        left, f"{session}: training stops after {left:.1f} h, in time to predict and save; --train.max-hours changes it"
    )


class Stop:
    """A request to stop, asked for once per step: `reason` is None as long as training may go on."""

    def __init__(self, max_hours: float | None = None) -> None:
        self._deadline = None if max_hours is None else time.monotonic() + max_hours * 3600
        self._signal: str | None = None
        self._since = -math.inf

    @property
    def reason(self) -> str | None:
        if self._signal is None and self._deadline is not None and time.monotonic() >= self._deadline:
            return "the time budget (--train.max-hours) is used up"
        return self._signal

    @property
    def is_asked(self) -> bool:
        """True where somebody has asked."""
        return self.reason is not None

    def request(self, reason: str) -> None:
        self._signal = reason

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second one, from somebody who cannot wait, ends the process at once."""
        if number == signal.SIGTERM and time.monotonic() - self._since < ECHO_S:
            return
        if number == signal.SIGTERM and self._since > -math.inf:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._signal = f"{signal.Signals(number).name} received"
        os.write(2, b"stopping after this step, with a checkpoint; once more to stop at once\n")
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        else:
            self._since = time.monotonic()


@contextmanager
def stopping(max_hours: float | None) -> Iterator[Stop]:
    """Yield a `Stop` that listens to the signals inside the block; outside the main thread to the budget alone."""
    stop = Stop(max_hours)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

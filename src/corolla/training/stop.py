"""When to stop early: SIGTERM, Ctrl-C, or the time budget. The step under way is finished and a checkpoint saved."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Asked once per step: `reason` is None as long as training may go on."""

    def __init__(self, max_hours: float | None) -> None:
        self._deadline = None if max_hours is None else time.monotonic() + max_hours * 3600
        self._signal: str | None = None

    @property
    def reason(self) -> str | None:
        if self._signal is None and self._deadline is not None and time.monotonic() >= self._deadline:
            return "the time budget (--train.max-hours) is used up"
        return self._signal

    def handle(self, number: int, frame: FrameType | None) -> None:
        self._signal = f"{signal.Signals(number).name} received"
        os.write(2, b"stopping after this step, with a checkpoint; once more to stop at once\n")
        # A second one, from somebody who cannot wait, ends the process at once.
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def stopping(max_hours: float | None) -> Iterator[Stop]:
    """A `Stop` that listens to the signals inside the block; only the main thread can (elsewhere: the budget alone)."""
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

"""A request to stop on which all processes of a training agree."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from corolla.errors import FAILED
from corolla.training.ranks import Ranks
from corolla.training.stop import SIGNALS, Stop

GRACE_S = 20.0
"""How long a process that got a signal waits for the others' part of a step: so long, or twice its longest wait so far.
The leader may be saving meanwhile; torchrun itself gives a process 30 s."""
EVALUATION_S = 300.0
"""The same where the others may still evaluate their share of val."""
SILENCE_S = 900.0
"""How long it waits without a signal, from the second step on. Who ends closes its connections, which is seen at once;
who loses power, or the network, does not."""


class AgreedStop:
    """Has the `reason` of a `Stop` in all processes after the same step, whichever of them was asked."""

    def __init__(self, stop: Stop, ranks: Ranks) -> None:
        self.reason: str | None = None
        self._stop, self._ranks = stop, ranks
        self._copied: tuple[torch.Tensor, torch.cuda.Event] | None = None
        self._waits_since: float | None = None
        self._patience_s = GRACE_S
        self._longest = 0.0
        self.agree(any(ranks.gather(self.is_asked)))

    @property
    def is_asked(self) -> bool:
        """True where this very process was asked."""
        return self._stop.reason is not None

    def agree(self, asked: bool) -> None:
        """Take over what the processes have agreed on."""
        if asked:
            self.reason = self._stop.reason or "another process of this training was asked to stop"

    @contextmanager
    def waiting(self, at_least_s: float = GRACE_S) -> Iterator[None]:
        """Mark that this process waits for the others, and does nothing that could be lost.

        Args:
            at_least_s: how long it waits after a signal.
        """
        self._patience_s = at_least_s
        self._waits_since = start = time.monotonic()
        try:
            yield
        finally:
            self._waits_since = None
            self._longest = max(self._longest, time.monotonic() - start)

    def note(self, asked: torch.Tensor) -> None:
        """Take over the sum, over all processes, of 1 for each that was asked before a step.

        From a GPU it is read a step later, when it has arrived, so that the next step does not wait for this one.
        """
        if asked.device.type == "cuda":
            arriving = torch.empty(asked.shape, pin_memory=True).copy_(asked, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            earlier, self._copied = self._copied, (arriving, event)
            if earlier is None:
                return
            asked, event = earlier
            with self.waiting():
                event.synchronize()
        self.agree(asked.item() > 0)

    @contextmanager
    def not_waiting_for_the_dead(self) -> Iterator[None]:
        """End this process where it waits for others that do not answer any more: soon after a signal, else in time.

        Python's own handlers run when a call returns, which such a one may never do: hence a thread, woken by the byte
        that the system's handler writes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        watch = threading.Thread(target=self._watch, args=(reader,), daemon=True)
        watch.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writer)  # which ends the thread
            watch.join()
            os.close(reader)

    def _watch(self, reader: int) -> None:
        asked = None
        while True:
            ready, _, _ = select.select([reader], [], [], 5.0 if asked is None else 0.2)
            if ready:
                numbers = os.read(reader, 100)
                if not numbers:
                    return
                if asked is None and any(number in SIGNALS for number in numbers):
                    asked = time.monotonic()
            if self.reason is None and self._waits_in_vain(asked):
                text = f"process {self._ranks.rank} on {socket.gethostname()}: the others do not answer; it ends\n"
                os.write(2, text.encode())
                os._exit(FAILED)

    def _waits_in_vain(self, asked: float | None) -> bool:
        """Return whether this process has waited too long, by when it got a signal."""
        since = self._waits_since
        if since is None:
            return False
        if asked is not None:
            return time.monotonic() - max(asked, since) > max(self._patience_s, 2 * self._longest)
        # Before the first step the others may decode all photos, or download weights.
        return self._longest > 0 and time.monotonic() - since > max(SILENCE_S, 2 * self._longest)

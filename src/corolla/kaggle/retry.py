"""Limit the rate of requests, wait between tries, give up at a deadline; poll for answers, page through listings."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tenacity

from corolla.kaggle.errors import retry_after_s

T = TypeVar("T")


@dataclass
class RateLimiter:
    """Starts requests at least `interval_s` apart, and none before a time that Kaggle asked for."""

    interval_s: float
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Sleep until the next request may start."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self.interval_s
        if start > now:
            time.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let no request start within the next `seconds`."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class RetryDeadline(tenacity.stop.stop_base):
    """Stops retrying where the next try would come later than `patience_s` after the last progress."""

    def __init__(self, patience_s: float, progress: Callable[[], int]) -> None:
        self._patience_s, self._progress = patience_s, progress
        self._best, self._since = progress(), time.monotonic()

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        if (now := self._progress()) > self._best:
            self._best, self._since = now, time.monotonic()
        return time.monotonic() - self._since + retry_state.upcoming_sleep > self._patience_s


def next_wait_s(retry_state: tenacity.RetryCallState) -> float:
    """Return the wait that Kaggle asked for, else 1, 2, 4, ... s with jitter so that clients do not meet again."""
    assert retry_state.outcome is not None
    asked = retry_after_s(retry_state.outcome.exception())
    return tenacity.wait_exponential_jitter(initial=1, max=30)(retry_state) if asked is None else asked


def poll(ask: Callable[[], T | None], *, wait_s: float, first_s: float = 2.0, longest_s: float = 30.0) -> T | None:
    """Return the first answer of `ask` that is not None, asking ever more slowly; None when `wait_s` are over."""
    start, pause = time.monotonic(), first_s
    while True:
        answer = ask()
        left = wait_s - (time.monotonic() - start)
        if answer is not None or left <= 0:
            return answer
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, longest_s)


def pages(ask: Callable[[str], Any]) -> Iterator[Any]:
    """Yield every page of a listing; `ask(token)` returns one with its `next_page_token`.

    An empty page need not be the last.
    """
    token, seen = "", set[str]()
    while True:
        page = ask(token)
        yield page
        seen.add(token)
        token = page.next_page_token or ""
        if not token or token in seen:
            return

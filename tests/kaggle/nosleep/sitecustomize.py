"""For processes that tests start: waits that are only counted, and no way to any host but this one.

Python imports it by itself where its folder is in PYTHONPATH; as a module of a test's own process it does nothing.
"""

import ipaddress
import os
import socket
import threading
import time
from typing import Any


class Clock:
    """`sleep` and `monotonic` of a time in which nobody waits. time.time stays: files are dated by it."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._offset = 0.0
        self._lock = threading.Lock()
        self._real_sleep, self._real_monotonic = time.sleep, time.monotonic

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
            self._offset += seconds
        self._real_sleep(0)  # another thread may be waited for

    def monotonic(self) -> float:
        return self._real_monotonic() + self._offset


def is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def guarded(attempts: list[str]) -> dict[tuple[Any, str], Any]:
    """Return the replacement of each (object, attribute); hosts that are turned away are also noted in `attempts`."""

    def check(host: Any) -> None:
        if not is_loopback(host):
            attempts.append(str(host))
            raise RuntimeError(f"test tried to reach {host}")

    def with_address(function: Any) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if isinstance(address, tuple):  # a Unix socket's is a path
                check(address[0])
            return function(self, address)

        return call

    def with_host(function: Any) -> Any:
        def call(host: Any, *args: Any, **options: Any) -> Any:
            check(host)
            return function(host, *args, **options)

        return call

    return {
        (socket.socket, "connect"): with_address(socket.socket.connect),
        (socket.socket, "connect_ex"): with_address(socket.socket.connect_ex),
        (socket, "getaddrinfo"): with_host(socket.getaddrinfo),
        (socket, "gethostbyname"): with_host(socket.gethostbyname),
    }


if __name__ == "sitecustomize":
    for (owner, name), replacement in guarded([]).items():
        setattr(owner, name, replacement)
    if os.environ.get("COROLLA_TEST_NO_SLEEP") == "1":
        clock = Clock()
        time.sleep, time.monotonic = clock.sleep, clock.monotonic

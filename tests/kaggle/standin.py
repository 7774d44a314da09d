"""A stand-in of Kaggle's server on 127.0.0.1: state to look at, a journal of requests, faults to order.

    with StandIn() as standin:
        standin.files = {"sample_submission.csv": b"..."}
        standin.add_fault("storage", "drop", at=1_500_000)
        ...
        assert standin.count("DownloadDataFile") == 1

What the client is answered follows what was seen of the real one; nothing here was compared with Kaggle's own server.
"""

import base64
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from standin_competition import Competition
from standin_handler import Fault, Request, Server
from standin_notebooks import Notebooks
from standin_storage import Ask, Refused

API_FAULTS = {"status", "reset", "close", "html", "raw", "stall", "lost_answer", "lost_request"}
STORAGE_FAULTS = (
    {"status", "reset", "close", "html", "stall", "stall_at", "drop", "short", "claim_more", "claim_less"}
    | {"no_length", "gzip", "corrupt", "ignore_range", "new_version", "trickle", "expire"}
)  # fmt: skip
UPLOAD_FAULTS = {"status", "reset", "close", "stall", "drop_upload", "lost_answer"}


class StandIn(Competition, Notebooks):
    def __init__(self) -> None:
        super().__init__()
        self.key = "fake-key"
        self.valid_tokens = {"fake-token"}
        self.journal: list[Request] = []
        self.errors: list[str] = []  # tracebacks of faults of its own
        self.stopping = threading.Event()
        self.routes = self.competition_routes() | self.notebook_routes() | {"IntrospectToken": self._introspect_token}
        self._faults: list[Fault] = []
        self.connections: set[socket.socket] = set()
        self._server = Server(self)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "StandIn":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Ends every stall and connection."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended itself
                continue

    def __enter__(self) -> "StandIn":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def requests(self, operation: str) -> list[Request]:
        return [request for request in self.journal if request.operation == operation]

    def count(self, operation: str) -> int:
        return len(self.requests(operation))

    def add_fault(
        self,
        operation: str,
        kind: str,
        *,
        at: int | None = None,
        code: int = 500,
        times: int | None = 1,
        after: int = 0,
        retry_after: float | str | None = None,
        rst: bool = True,
        plain: bool = False,
        nested: bool = False,
        match: str = "",
        message: str = "",
        body: Any = None,
        pause_s: float = 0.01,
    ) -> None:
        """Orders a fault; the first in the queue that is due and fits a request befalls it.

        storage: drop (`at` bytes of the answer, default half; RST, or FIN with rst=False), stall_at (the same, then
        silence), stall, reset, close, status, expire (403 for this signed address from now on), html, short (`at`
        bytes, consistently), claim_more and claim_less (`at` bytes more or less in Content-Length), no_length, gzip,
        corrupt (the byte `at` of the answer), ignore_range, new_version (replaced just before, by `body` where given),
        trickle (`at` bytes at a time, `pause_s` between).
        API: status, reset, close, html, raw (`body` as JSON with status `code`, 200 unless given), stall, lost_request
        (reset before it takes effect), lost_answer (after).
        upload: status, reset, close, stall, drop_upload (RST after `at` bytes, which stay received), lost_answer.

        Args:
            operation: "storage", "upload" or the name of an API method.
            times: how often; None for ever.
            after: so many requests are served first, counted from now on.
            retry_after: the header: seconds, or text as it is.
            plain: a body of text/plain rather than JSON or XML.
            nested: Google's shape {"error": {"code": ...}} rather than {"code": ...}.
            match: only requests with this in the file's name or address (storage, upload) or JSON (API).
        """
        allowed = {"storage": STORAGE_FAULTS, "upload": UPLOAD_FAULTS}.get(operation, API_FAULTS)
        if kind not in allowed or (operation not in ("storage", "upload") and operation not in self.routes):
            raise ValueError(f"no fault {kind!r} of {operation!r}")
        code = 200 if kind == "raw" and code == 500 else code
        fault = Fault(
            operation, kind, at, code, times, after, retry_after, rst, plain, nested, match, message, body, pause_s
        )
        with self.lock:
            self._faults.append(fault)

    def clear_faults(self) -> None:
        with self.lock:
            self._faults.clear()

    def take_fault(self, operation: str, text: str) -> Fault | None:
        with self.lock:
            fitting = [f for f in self._faults if f.operation == operation and f.match in text]
            for fault in fitting:
                fault.seen += 1
            for fault in fitting:
                if fault.seen > fault.after and (fault.times is None or fault.done < fault.times):
                    fault.done += 1
                    return fault
        return None

    def authorized(self, header: str) -> bool:
        kind, _, value = header.partition(" ")
        if kind == "Bearer":
            return value in self.valid_tokens
        return kind == "Basic" and base64.b64decode(value).decode() == f"{self.user}:{self.key}"

    def _introspect_token(self, ask: Ask) -> dict[str, Any]:
        if ask["token"] not in self.valid_tokens:
            raise Refused(404, "Token not found")
        return {"active": True, "username": self.user}

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that must reach nothing but this server, which is its proxy; waits are not waited there."""
        home.mkdir(parents=True, exist_ok=True)
        (home / "tmp").mkdir(exist_ok=True)
        proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("KAGGLE") and name.lower() not in proxies | {"verbose", "verbose_output"}
        }
        path = [str(Path(__file__).parent / "nosleep"), os.environ.get("PYTHONPATH", "")]
        return inherited | {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "KAGGLE_USERNAME": self.user,
            "KAGGLE_KEY": self.key,
            "http_proxy": self.url,
            "HTTP_PROXY": self.url,
            "no_proxy": "",
            "NO_PROXY": "",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),  # the client keeps the state of uploads there
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "COROLLA_TEST_NO_SLEEP": "1",
        }

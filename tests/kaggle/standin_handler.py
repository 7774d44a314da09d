"""The stand-in's end of the wire: requests as they come, answers whole or broken."""

import fcntl
import gzip
import json
import re
import socket
import struct
import sys
import termios
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from standin_storage import Answer, Ask, Refused, json_answer, storage_error

if TYPE_CHECKING:
    from standin import StandIn

PROXIED_STORAGE = "http://storage.kaggle.test"  # never resolved: such a client sends everything to its proxy
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Accept the terms of this network</body></html>"


@dataclass
class Request:
    """A client's request, with the answer that it got."""

    time: float  # by time.monotonic(): where a test only counts waits, they are in it
    method: str
    operation: str  # the API method's name, "storage" or "upload"
    target: str
    headers: dict[str, str]  # Authorization says no more than its kind
    body: Any = None  # JSON, or how many bytes came
    status: int | None = None  # None: never answered
    sent: int = 0  # bytes of the answer's body
    fault: str = ""


@dataclass
class Fault:
    operation: str
    kind: str
    at: int | None = None
    code: int = 500
    times: int | None = 1
    after: int = 0
    retry_after: float | str | None = None
    rst: bool = True
    plain: bool = False
    nested: bool = False
    match: str = ""
    message: str = ""
    body: Any = None
    pause_s: float = 0.01
    seen: int = 0
    done: int = 0


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, standin: "StandIn") -> None:
        self.standin = standin
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client may go whenever it likes
            self.standin.errors.append(traceback.format_exc())


@dataclass
class _Target:
    operation: str
    path: str  # of an object in storage; the token of an upload
    query: str = ""
    proxied: bool = False


def _parse_target(target: str) -> _Target:
    parts = urlsplit(target)
    proxied = bool(parts.netloc)
    if api := re.fullmatch(r"(?:/api)?/v1/\w+\.\w+/(\w+)", parts.path):
        return _Target(api[1], "", proxied=proxied)
    _, operation, path = [*parts.path.split("/", 2), "", ""][:3]
    return _Target(operation, unquote(path), parts.query, proxied)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, Server)
        self.standin = self.server.standin
        self.standin.connections.add(self.connection)

    def finish(self) -> None:
        self.standin.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """The journal is enough."""

    def do_POST(self) -> None:
        headers = dict(self.headers.items())
        if "Authorization" in headers:
            headers["Authorization"] = headers["Authorization"].partition(" ")[0] + " ***"
        target = _parse_target(self.path)
        self.record = Request(time.monotonic(), self.command, target.operation, self.path, headers)
        self.standin.journal.append(self.record)
        serve = {"storage": self._serve_storage, "upload": self._serve_upload}.get(target.operation, self._serve_api)
        serve(target)

    do_GET = do_PUT = do_POST

    # API

    def _serve_api(self, target: _Target) -> None:
        text = b"".join(self._read_body()).decode()
        self.record.body = json.loads(text or "{}")
        fault = self._take_fault(target.operation, text)
        if fault and fault.kind == "raw":
            return self._send(json_answer(fault.body, fault.code))
        if fault and fault.kind != "lost_answer":
            return self._fail(fault)
        storage = PROXIED_STORAGE if target.proxied else f"http://localhost:{self.standin.port}"
        answer = self._ask(target.operation, Ask(self.record.body, storage))
        return self._reset() if fault else self._send(answer)

    def _ask(self, operation: str, ask: Ask) -> Answer:
        route = self.standin.routes.get(operation)
        try:
            if route is None or self.command != "POST":
                raise Refused(404, f"The stand-in has no route {self.command} {self.path}")
            if operation != "IntrospectToken" and not self.standin.authorized(self.headers.get("Authorization", "")):
                raise Refused(401, "Unauthenticated")
            answer = route(ask)
        except Refused as error:
            return json_answer({"code": error.code, "message": error.message}, error.code)
        return answer if isinstance(answer, Answer) else json_answer(answer)

    # storage

    def _serve_storage(self, target: _Target) -> None:
        fault = self._take_fault("storage", f"{target.path}?{target.query}")
        kind = fault.kind if fault else ""
        if kind == "new_version" and fault:
            self.standin.versions[target.path] = self.standin.versions.get(target.path, 0) + 1
            if fault.body is not None:
                self.standin.files[target.path.partition("/")[2]] = fault.body
        if kind == "expire":
            self.standin.expired.add(target.query)
        if fault and kind in ("status", "reset", "close", "html", "stall"):
            return self._fail(fault)
        headers = dict(self.headers.items())
        ranges = kind != "ignore_range"
        answer = self.standin.read_object(target.path, target.query, headers, ranges=ranges)
        return self._send_altered(answer, fault) if fault and kind != "expire" else self._send(answer)

    def _send_altered(self, answer: Answer, fault: Fault) -> None:
        body, kind = answer.body, fault.kind
        middle = len(body) // 2 if fault.at is None else fault.at
        if kind in ("drop", "stall_at"):
            return self._break_off(answer, fault, middle)
        if kind == "trickle":
            return self._send(answer, piece=fault.at or 65536, pause_s=fault.pause_s)
        if kind == "short":
            answer.body = body[:middle]
        elif kind == "corrupt":
            answer.body = body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1 :]
        elif kind == "gzip":
            answer.body = gzip.compress(body, 1, mtime=0)
            answer.headers["Content-Encoding"] = "gzip"
        elif kind in ("claim_more", "claim_less"):
            difference = 100 if fault.at is None else fault.at
            answer.headers["Content-Length"] = str(len(body) + (difference if kind == "claim_more" else -difference))
            self.close_connection = True
        elif kind == "no_length":
            answer.headers["Connection"] = "close"  # the end of the body is the end of the connection
            self.close_connection = True
        return self._send(answer)

    def _break_off(self, answer: Answer, fault: Fault, at: int) -> None:
        self._send(answer, limit=at)
        if fault.kind == "stall_at":
            self.standin.stopping.wait()
        elif fault.rst:
            self._reset()
        self.close_connection = True

    # upload

    def _serve_upload(self, target: _Target) -> None:
        upload = self.standin.uploads.get(target.path)
        fault = self._take_fault("upload", f"{target.path} {upload.name if upload else ''}")
        content_range = self.headers.get("Content-Range", "")
        limit = None
        if fault and fault.kind == "drop_upload":
            limit = fault.at or 0
        body = b"".join(self._read_body(limit))
        self.record.body = len(body)
        if fault and fault.kind not in ("drop_upload", "lost_answer"):
            return self._fail(fault)
        answer = self.standin.receive(target.path, body, content_range, cut=limit is not None)
        return self._reset() if fault else self._send(answer)

    # both

    def _take_fault(self, operation: str, text: str) -> Fault | None:
        fault = self.standin.take_fault(operation, text)
        self.record.fault = fault.kind if fault else ""
        return fault

    def _fail(self, fault: Fault) -> None:
        if fault.kind in ("reset", "lost_request"):
            return self._reset()
        if fault.kind in ("close", "stall"):
            if fault.kind == "stall":
                self.standin.stopping.wait()
            self.close_connection = True
            return None
        if fault.kind == "html":
            return self._send(Answer(200, HTML, {"Content-Type": "text/html; charset=utf-8"}))
        message = fault.message or {403: "Forbidden", 429: "Too many requests"}.get(fault.code, f"Error {fault.code}")
        if fault.plain:
            answer = Answer(fault.code, message.encode(), {"Content-Type": "text/plain"})
        elif fault.operation in ("storage", "upload"):
            answer = storage_error(fault.code, message)
        elif fault.nested:
            status = {429: "RESOURCE_EXHAUSTED", 403: "PERMISSION_DENIED"}.get(fault.code, "INTERNAL")
            error = {"code": fault.code, "message": message, "status": status}
            answer = json_answer({"error": error}, fault.code)
        else:
            answer = json_answer({"code": fault.code, "message": message}, fault.code)
        if fault.retry_after is not None:
            answer.headers["Retry-After"] = str(fault.retry_after)
        return self._send(answer)

    def _read_body(self, limit: int | None = None) -> Iterator[bytes]:
        """At most `limit` bytes. An empty file comes as chunks, as requests sends a stream without a length."""
        left = sys.maxsize if limit is None else limit
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = min(left, int(self.headers.get("Content-Length", 0)))
        while left > 0 and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
            yield piece

    def _send(self, answer: Answer, *, limit: int | None = None, piece: int = 1 << 16, pause_s: float = 0.0) -> None:
        self.record.status = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not answer.headers.keys() & {"Content-Length", "Connection"}:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body = memoryview(answer.body)[:limit]
        for start in range(0, len(body), piece):
            if pause_s and self.standin.stopping.wait(pause_s):
                break
            self.record.sent += len(body[start : start + piece])  # before a client that has it all looks here
            self.wfile.write(body[start : start + piece])

    def _reset(self) -> None:
        """An RST, after all that was sent has arrived: else it would overtake the last bytes."""
        for _ in range(2000):
            if fcntl.ioctl(self.connection, termios.TIOCOUTQ, b"\0\0\0\0") == b"\0\0\0\0":
                break
            if self.standin.stopping.wait(0.002):
                break
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()  # the socket is closed once nobody reads it
        self.connection.close()

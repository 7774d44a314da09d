"""A package index on loopback (PEP 503), with wheels that are made for it."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from corolla.kaggle.wheels import write_wheel


class PackageIndex:
    """Serves the wheels in a folder, and notes which projects are asked for and which files are fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.fetched: list[str] = []
        folder.mkdir()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content = index._answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if self.path.startswith("/simple/") else "application/zip")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

    def add(self, name: str, version: str, tag: str) -> Path:
        """Offer a wheel whose only module says which tag it is for."""
        module = name.replace("-", "_")
        info = f"{module}-{version}.dist-info"
        members = {
            f"{module}.py": f"TAG = {tag!r}\n".encode(),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        }
        return write_wheel(self.folder / f"{module}-{version}-{tag}.whl", info, members)

    def _answer(self, path: str) -> tuple[int, bytes]:
        place, name = path.strip("/").split("/")
        if place == "files":
            self.fetched.append(name)
            return 200, (self.folder / name).read_bytes()
        self.asked.append(name)
        links = [
            f'<a href="/files/{file.name}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">{file.name}</a>'
            for file in sorted(self.folder.iterdir())
            if re.sub("_", "-", file.name.split("-")[0]) == name
        ]
        return (200, "".join(["<!DOCTYPE html>", *links]).encode()) if links else (404, b"")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

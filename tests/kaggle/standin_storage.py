"""The common base of the stand-in's operations: questions and answers, files to read, uploads to receive."""

import base64
import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

FIRST_MODIFIED = 1_584_000_000  # seconds since 1970, in March 2020; a new version is a day younger


@dataclass
class Ask:
    """A request for an API operation."""

    body: dict[str, Any]
    storage_url: str  # where this client finds storage: another host than the API's

    def __getitem__(self, name: str) -> Any:
        return self.body.get(name, "")


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Becomes an answer with that status, in Kaggle's JSON."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


Route = Callable[[Ask], dict[str, Any] | Answer]


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, json.dumps(content).encode(), kind | (headers or {}))


def page_of(items: list[Any], ask: Ask, cap: int | None = None, default: int = 20) -> tuple[list[Any], str]:
    """One page of `items` and the token of the next, "" at the end."""
    size = min(int(ask["pageSize"] or default), cap or 200)
    start = int(ask["pageToken"] or 0)
    return items[start : start + size], str(start + size) if start + size < len(items) else ""


def zip_of(files: dict[str, bytes]) -> bytes:
    """The same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name), body)
    return buffer.getvalue()


@dataclass
class Upload:
    name: str
    length: int
    data: bytearray = field(default_factory=bytearray)
    complete: bool = False


def storage_error(status: int, code: str) -> Answer:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Answer(status, text.encode(), {"Content-Type": "application/xml; charset=UTF-8"})


class Storage:
    """A stand-in for Google's storage: signed addresses to read from, resumable sessions to write to."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.versions: dict[str, int] = {}  # path of an object -> how often it was replaced
        self.signatures = 0
        self.expired: set[str] = set()  # queries of signed addresses that are refused
        self.uploads: dict[str, Upload] = {}  # by token
        self.blobs: dict[str, bytes] = {}  # completed uploads by file name, the newest
        self.encode_slashes = False

    def find_object(self, path: str) -> bytes | None:
        """The content at "bucket/name"; every subject has buckets of its own."""
        return None

    def kernel_version(self, ref: str, version: int) -> dict[str, Any] | None:
        """A pushed version; of notebooks only their own part of the stand-in knows."""
        return None

    def signed(self, ask: Ask, path: str) -> str:
        """An address that is good once; each call gives a new one."""
        with self.lock:
            self.signatures += 1
            safe = "" if self.encode_slashes else "/"
            bucket, _, name = path.partition("/")
            query = f"GoogleAccessId=fake&Expires=1900000000&Signature={self.signatures}"
            return f"{ask.storage_url}/storage/{bucket}/{quote(name, safe=safe)}?{query}"

    def redirect(self, ask: Ask, path: str) -> Answer:
        return Answer(302, b"", {"Location": self.signed(ask, path)})

    def read_object(self, path: str, query: str, headers: dict[str, str], *, ranges: bool = True) -> Answer:
        """200, 206, 416, or 403 for an expired signature; `ranges=False`: a server that knows no Range."""
        if query in self.expired:
            return storage_error(403, "ExpiredToken")
        body = self.find_object(path)
        if body is None:
            return storage_error(404, "NoSuchKey")
        md5 = hashlib.md5(body)
        version = self.versions.get(path, 0)
        answer = Answer(200, body)
        answer.headers = {
            "Content-Type": "application/octet-stream",
            "Last-Modified": formatdate(FIRST_MODIFIED + 86400 * version, usegmt=True),
            "ETag": f'"{md5.hexdigest()}-{version}"',
            "x-goog-hash": "md5=" + base64.b64encode(md5.digest()).decode(),
        }
        if not ranges:
            return answer
        answer.headers["Accept-Ranges"] = "bytes"
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", ""))
        validators = (None, answer.headers["ETag"], answer.headers["Last-Modified"])
        if asked and headers.get("If-Range") in validators:
            start, end = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
            if start >= len(body):
                return Answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            answer.status, answer.body = 206, body[start : end + 1]
            answer.headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return answer

    def start_upload(self, ask: Ask, name: str) -> dict[str, Any]:
        with self.lock:
            token = f"token{len(self.uploads) + 1:04d}"
            self.uploads[token] = Upload(name, int(ask["contentLength"] or 0))
        return {"token": token, "createUrl": f"{ask.storage_url}/upload/{token}"}

    def receive(self, token: str, body: bytes, content_range: str, *, cut: bool = False) -> Answer:
        """A PUT of a whole file, of its rest, or the question how much has arrived; `cut`: its sender has gone."""
        upload = self.uploads.get(token)
        if upload is None:
            return storage_error(404, "NoSuchUpload")
        with self.lock:
            if not content_range:
                upload.data[:] = body
            elif "*" not in content_range:
                start = int(content_range.removeprefix("bytes ").partition("-")[0])
                if start <= len(upload.data):
                    upload.data[start:] = body
            if len(upload.data) == upload.length and not cut and (body or not content_range):
                upload.complete = True
                self.blobs[upload.name] = bytes(upload.data)
            if upload.complete:
                return json_answer({"name": upload.name, "size": str(upload.length)})
            return Answer(308, b"", {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {})

    def uploaded(self, token: str) -> Upload:
        upload = self.uploads.get(token)
        if upload is None or not upload.complete:
            raise Refused(400, f"No completed upload with token {token}")
        return upload

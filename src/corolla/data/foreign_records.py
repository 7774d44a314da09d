"""Data files of others in place of the TFRecords that corolla reads: told what they are, and what to do about it."""

import mmap
import zlib
from collections.abc import Mapping

from corolla.data.jpeg_header import kind_of

KINDS = {None: "empty", 1: "bytes", 2: "float", 3: "int64"}
"""The lists of a Feature (tensorflow/core/example/feature.proto)."""
MAX_NAMED = 12

REMEDIES = {
    "gzip": "unpack it with gzip -dc FILE > NEW.tfrec, or write it without compression",
    "a ZIP archive": "unpack it",
    "a web page or XML": "download the file anew, signed in",
    "a Git LFS pointer": "git lfs pull fetches the file itself",
}
OTHERS = {b"\xff\xd8\xff": "a JPEG image", b"\x89HDF": "HDF5", b"PAR1": "Parquet", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def what_instead(buffer: bytes | mmap.mmap) -> str | None:
    """Return what a file is instead of TFRecords and what to do, by its first bytes; None where they don't say.

    Asked for a file whose first record has no sound header: a length may begin with any bytes.
    """
    start = bytes(buffer[:512])
    kind = (kind_of(start) or "").partition(",")[0]
    kind = kind or next((name for magic, name in OTHERS.items() if start.startswith(magic)), "")
    if not kind and _is_zlib(start):
        return "the file is compressed with zlib, and only plain TFRecords are read: write it without compression"
    if not kind and start[257:262] == b"ustar":
        kind = "a tar archive"
    return f"the file is {kind}, not TFRecords: {REMEDIES.get(kind, 'replace it')}" if kind else None


def _is_zlib(start: bytes) -> bool:
    """Return whether bytes begin a zlib stream (RFC 1950, 2.2), proved by unpacking the first of them."""
    if len(start) < 2 or start[0] & 15 != 8 or int.from_bytes(start[:2], "big") % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(start, 12)) or len(start) < 64
    except zlib.error:
        return False


def described(kinds: Mapping[bytes, int | None]) -> str:
    """Return the end of a message: the features that a record has, and those that are read."""
    if not kinds:
        return ""
    names = [f"{name.decode(errors='backslashreplace')[:40]} ({KINDS[kind]})" for name, kind in sorted(kinds.items())]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    there = ", ".join(names[:MAX_NAMED])
    return f": its features are {there}{more}; write them as image (bytes: a JPEG), class (int64) and id (bytes)"

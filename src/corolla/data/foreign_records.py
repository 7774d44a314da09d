"""Data files of others in place of the TFRecords that corolla reads: told what they are, and what to do about it."""

import mmap
import re
import zlib
from pathlib import Path

from corolla.data.feature_names import Features, class_candidates, image_candidates, shown
from corolla.data.jpeg_header import kind_of
from corolla.text_files import shell_words

REMEDIES = {
    "gzip": "unpack it with gzip -dc FILE > NEW.tfrec",
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
    if not kind and packing(start):
        return "the file is compressed with zlib, and only plain TFRecords are read: write it without compression"
    if not kind and start[257:262] == b"ustar":
        kind = "a tar archive"
    return f"the file is {kind}, not TFRecords: {REMEDIES.get(kind, 'replace it')}" if kind else None


def packing(start: bytes) -> str | None:
    """Return how a file is compressed as TFRecords may be, gzip or zlib, by its first bytes; None: in neither way.

    Asked for a file whose first record has no sound header, as `what_instead` is.
    """
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if len(start) < 2 or start[0] & 15 != 8 or int.from_bytes(start[:2], "big") % 31:  # RFC 1950, 2.2
        return None
    try:
        return "zlib" if zlib.decompressobj().decompress(start, 12) or len(start) < 64 else None
    except zlib.error:
        return None


class OtherFeatures(ValueError):
    """A record whose features are not those that are read: says which it has, and how it is converted."""

    def __init__(self, reason: str, features: Features) -> None:
        self.features = features
        super().__init__(f"{reason}: {features}")

    def remedy(self, path: Path) -> str:
        """Return the command that converts the file of the record, and those of the other splits beside it."""
        images, classes = image_candidates(self.features), class_candidates(self.features)
        if not images:
            return "write them as image (bytes: a JPEG), class (int64) and id (bytes)"
        label = shown(classes[0]) if classes else "FEATURE" if path.parent.name != "test" else ""
        return conversion(path, f"image={shown(images[0])}" + f",class={label}" * bool(label))


def conversion(path: Path, features: str = "") -> str:
    """Return the end of a message: the command that converts a TFRecord file, or the data folder that it lies in."""
    options = ["--features", features] if features else []
    folder = path.parent.parent
    whole = folder if re.fullmatch(r"tfrecords-jpeg-(\d+)x\1", folder.name) else path
    return f"convert it: corolla {shell_words('import', whole, 'OUT', *options)}"


def image_remedy(path: Path, image: bytes | memoryview, size: int) -> str:
    """Return how a record is converted whose image is no JPEG; empty where it may be a damaged one.

    `size` x `size` are the pixels that a raw photo would have.
    """
    kind = kind_of(image) or ""
    raw = bytes(image[:2]) != b"\xff\xd8" and len(image) in (size * size, size * size * 3)
    return conversion(path, "image=image,class=class") if kind.endswith(" image") or raw else ""

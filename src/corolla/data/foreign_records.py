"""Data files of others in place of the TFRecords that corolla reads: told what they are, and what to do about it."""

import mmap
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from corolla.data.feature_names import Features, class_candidates, image_candidates, shown
from corolla.data.jpeg_header import is_text, kind_of
from corolla.text_files import shell_words

REMEDIES = {
    "gzip": "unpack it with gzip -dc FILE > NEW.tfrec",
    "a ZIP archive": "unpack it",
    "a web page or XML": "download the file anew, signed in",
    "a Git LFS pointer": "git lfs pull fetches the file itself",
}
OTHERS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89HDF": "HDF5",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"\x93NUMPY": "a NumPy array",
    b"\x0a\x23\xd7\xce": "MXNet's RecordIO",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xff\xfe": "text in UTF-16",
}
PACKED = ("bzip2", "xz", "Zstandard", "LZ4", "a 7z archive", "a RAR archive", "a tar archive")
MOST_SHARDS = 100_000
MOST = 4  # features that are named


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
    if not kind and is_text(start):
        kind = f"text that begins {start[:40].decode()!r}"
    if not kind and len(start) > 11 and not any(start):
        return "the file begins with zeros, as a download does that has not ended: download it anew"
    remedy = REMEDIES.get(kind) or ("unpack it" if kind in PACKED else "replace it")
    return f"the file is {kind}, not TFRecords: {remedy}" if kind else None


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


def missing_shards(paths: Iterable[Path]) -> str | None:
    """Return a note on files that the names of others count (flowers-00000-of-00003) and that are not there."""
    there: dict[tuple[Path, str, str, str], set[int]] = {}
    for path in paths:
        if match := re.fullmatch(r"(.*-)(\d+)(-of-)(\d+)(?: ?\(\d+\))?((?:\.\w+)*)", path.name):
            there.setdefault((path.parent, match[1], match[3] + match[4], match[5]), set()).add(int(match[2]))
    missing = [
        folder / f"{start}{number:05}{end}{suffix}"
        for (folder, start, end, suffix), numbers in sorted(there.items())
        for number in range(min(int(end.rpartition("-")[2]), MOST_SHARDS))
        if number not in numbers
    ]
    return f"{len(missing)} files are missing by the names of the others, {missing[0]} first" if missing else None


class OtherFeatures(ValueError):
    """A record whose features are not those that are read: says which it has, and how it is converted."""

    def __init__(self, reason: str, features: Features) -> None:
        self.features = features
        super().__init__(f"{reason}: {features}")

    def remedy(self, path: Path) -> str:
        """Return the command that converts the file of the record, and those of the other splits beside it.

        Where several features may be the photo, or the class, it says so: the command has the first.
        """
        images, classes = image_candidates(self.features), class_candidates(self.features)
        if not images:
            return "write them as image (bytes: a JPEG), class (int64) and id (bytes)"
        label = shown(classes[0]) if classes else "FEATURE" if path.parent.name != "test" else ""
        doubts = [
            f"{' and '.join(map(shown, names[:MOST]))} may each be the {what}, so name the right one: "
            for what, names in (("photo", images), ("class", classes))
            if len(names) > 1
        ]
        return "".join(doubts) + conversion(path, f"image={shown(images[0])}" + f",class={label}" * bool(label))


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

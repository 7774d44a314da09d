"""Tell what a file is that was taken for another: a pointer, a web page, a packed file, one of another program."""

import re

BEGINNINGS = (
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"),
    (rb"\.{0,2}/?(\.\./)*(\.git)?/annex/objects/", "is a pointer of git-annex: fetch the file with `git annex get`"),
    (
        rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|head|Error>)",
        "is a web page or an answer of a server: fetch the file that is meant, perhaps after signing in",
    ),
    (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras, TensorFlow, pandas)"),
    (rb"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (rb"BZh\d1AY&SY", "is compressed with bzip2: unpack it first"),
    (rb"\xfd7zXZ\0", "is compressed with xz: unpack it first"),
    (rb"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first"),
    (rb"Rar!\x1a\x07", "is a RAR archive: unpack it first"),
    (rb"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
    (rb"(?s:.{257})ustar", "is a tar archive: unpack it first"),
    (rb"\x93NUMPY", "is a NumPy array"),
    (rb"GGUF[\1-\x0f]\0", "is a GGUF file"),
    (rb"PAR1\x15", "is a Parquet file"),
    (rb"\x89PNG\r\n|\xff\xd8\xff", "is a photo"),
    (rb"\0{1024}", "begins with zero bytes only, as of a download that was never finished: fetch it again"),
)
"""How files begin, and what they are."""
LATER_BEGINNINGS = (
    (rb"PK\x03\x04", "is a zip archive: unpack it first"),
    (rb"\x80[\x02-\x05]", "is a pickle of Python"),
)
"""Beginnings of files that some readers take."""


def foreign_kind(start: bytes) -> str | None:
    """Return what a file is by its first KiB, and the remedy; None of pickles, zips and what is not known."""
    return next((what for beginning, what in BEGINNINGS if re.match(beginning, start, re.IGNORECASE)), None)


def not_text_kind(start: bytes) -> str | None:
    """Return what a file is by its first KiB that can't be text; None where that is not known."""
    later = (what for beginning, what in LATER_BEGINNINGS if re.match(beginning, start))
    return foreign_kind(start) or next(later, None)

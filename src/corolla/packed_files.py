"""Take the one file out of a gzip file or a zip archive, which may be damaged."""

import gzip
import io
import lzma
import struct
import zipfile
import zlib

PACKING_FAULTS = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error, ValueError, OverflowError),
    *(IndexError, RuntimeError, MemoryError),
)
"""Errors of gzip and zipfile on a damaged file. ValueError: a part that would begin before the file; IndexError:
one without a name; RuntimeError: a password, or a way of packing that Python does not know; MemoryError: of LZMA, where
damage asks for gigabytes."""


class NotUnpacked(Exception):
    """An archive is damaged, or holds other than one file; the message says which."""


def unpacked(content: bytes, limit: int) -> bytes:
    """Return what is packed in a file, told by its first bytes, at most so many bytes; any other file as it is.

    Raises:
        NotUnpacked: the archive is damaged, or holds other than one file.
    """
    try:
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(content)) as packed:
                return packed.read(limit)
        if content.startswith(b"PK\x03\x04"):
            return _only_part(content, limit)
    except PACKING_FAULTS as error:
        raise NotUnpacked(f"can't be unpacked ({error}), perhaps cut short") from None
    return content


def _only_part(content: bytes, limit: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [part for part in archive.infolist() if not part.is_dir() and not _is_hidden(part.filename)]
        if any(part.filename == "xl/workbook.xml" for part in parts):
            raise NotUnpacked("is an Excel workbook: save it as CSV")
        if len(parts) != 1:
            raise NotUnpacked(f"holds {len(parts)} files: a zip archive of one CSV is expected")
        _check_directory(parts[0], content)
        with archive.open(parts[0]) as packed:
            return packed.read(limit)


def _is_hidden(name: str) -> bool:
    """Return whether a file in an archive is one that systems put there: __MACOSX/..., .DS_Store."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _check_directory(part: zipfile.ZipInfo, archive: bytes) -> None:
    """Check that an archive's directory has the checksum that stands before a part: zipfile reads by the directory.

    Raises:
        zipfile.BadZipFile: it has another one, perhaps that of an empty file.
    """
    is_told_later = part.flag_bits & 8
    if not is_told_later and archive[part.header_offset + 14 :][:4] != part.CRC.to_bytes(4, "little"):
        raise zipfile.BadZipFile(f"Bad directory entry of {part.filename!r}")

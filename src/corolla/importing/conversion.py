"""Convert photos to JPEGs on all cores; they wait in a file until the broken ones are known."""

import hashlib
import struct
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from PIL import Image

from corolla.importing.photos import HEIC, UNREAD, Photo
from corolla.importing.pixels import Pixels, to_jpeg_and_picture
from corolla.parallel import map_in_threads

Read = Callable[[Photo], bytes]
"""Returns a photo's file, or raises OSError or ValueError."""

BATCH = 128  # photos handed to the threads at a time, which bounds the JPEGs that wait in memory


class ConvertedPhoto(NamedTuple):
    """A converted photo: the place of its JPEG in the spool, or why it has none."""

    digest: str
    """SHA-1 of the photo's own file."""
    picture: str
    """SHA-1 of its pixels, where `encode` tells it."""
    start: int
    length: int
    fault: str
    """Why the photo can't be read; empty where it can."""

    def read(self, spool: IO[bytes]) -> bytes:
        """Return the JPEG."""
        spool.seek(self.start)
        return spool.read(self.length)


def photo_digests(read: Read, photos: list[Photo], *, progress: bool) -> Iterator[str]:
    """Yield the SHA-1 of each photo's file, in order; empty where `read` refuses it."""

    def digest(photo: Photo) -> str:
        try:
            return _digest(read(photo))
        except ValueError:
            return ""

    return map_in_threads(digest, photos, title="compare", progress=progress, batch=BATCH)


def convert_photos(
    read: Read,
    photos: list[Photo],
    pixels: Pixels,
    spool: IO[bytes],
    *,
    progress: bool,
    encode: Callable[[bytes, Pixels], tuple[bytes, str]] = to_jpeg_and_picture,
    title: str = "import",
) -> dict[str, ConvertedPhoto]:
    """Write every photo's JPEG, which `encode` makes of its file, to the spool and return its place there, by path.

    `encode` returns what tells the photo's pixels as well.

    They wait in the spool because only when the broken photos are known can the splits be drawn.
    """

    def convert(photo: Photo) -> tuple[str, bytes, str, str]:
        digest, data = "", b""
        try:
            data = read(photo)
            digest = _digest(data)
            if reason := UNREAD.get(PurePosixPath(photo.path).suffix.lower()):
                return digest, b"", "", reason
            return digest, *encode(data, pixels), ""
        except Image.UnidentifiedImageError:
            return digest, b"", "", _kind(data)
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
            reason = error.strerror if isinstance(error, OSError) else None  # the whole text names the path again
            return digest, b"", "", reason or " ".join(str(error).split())

    places: dict[str, ConvertedPhoto] = {}
    converted = map_in_threads(convert, photos, title=title, unit=" photos", progress=progress, batch=BATCH)
    for photo, (digest, jpeg, picture, fault) in zip(photos, converted, strict=True):
        places[photo.path] = ConvertedPhoto(digest, picture, spool.tell(), len(jpeg), fault)
        spool.write(jpeg)
    return places


def _kind(data: bytes) -> str:
    """Return what a file is that Pillow does not know."""
    if not data:
        return "empty"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return HEIC
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF, which this Pillow can't read: `pip install 'pillow>=11.3'`, or convert it to JPEG"
    if data.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: fetch the file with `git lfs pull`"
    if data.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return "no image"


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()

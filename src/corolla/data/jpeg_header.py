"""The header of a JPEG: its size, and what in it keeps the photo from being read, before any memory is taken for it."""

import re
from typing import NamedTuple

MAX_PIXELS = 89_478_485
"""Pillow's limit against bombs (Image.MAX_IMAGE_PIXELS): a quarter of a GiB of pixels."""
MAX_SIDE = 65_500
"""libjpeg's limit (JPEG_MAX_DIMENSION)."""

KINDS = {
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"BM....\0\0\0\0": "a BMP image",
    b"II\\*\0": "a TIFF image",
    b"MM\0\\*": "a TIFF image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"RIFF....WEBP": "a WebP image",
    b"....ftyp": "a HEIC or AVIF image",
    b"version https://git-lfs": "a Git LFS pointer, which git lfs pull replaces",
    b"\x1f\x8b\x08": "gzip",
    b"PK\x03\x04": "a ZIP archive",
}
"""Patterns of the first bytes. Raw pixels and records may begin with any, so two or three of them are not enough."""
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # 0 belongs to a scan, d0 to d7 restart it
NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables and a reserved marker among those of frames (ITU T.81, table B.1)
READABLE_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # the others are lossless or hierarchical


class Header(NamedTuple):
    """Size of a JPEG, as its header says."""

    height: int
    width: int
    height_field: int | None
    """Where the height stands (two bytes), None where it must not be made smaller to decode fewer rows.

    It may in a sequential JPEG of a single scan without restart markers, where nothing else depends on the height. It
    must not in CMYK, where the pixels are converted after the last row, so none would be there.
    """


def kind_of(data: bytes | memoryview) -> str | None:
    """Return what bytes are instead of a JPEG, None where that is not known."""
    start = bytes(data[:32]).removeprefix(b"\xef\xbb\xbf")
    found = next((kind for magic, kind in KINDS.items() if re.match(magic, start, re.DOTALL)), None)
    page = re.match(rb"\s*<[!?A-Za-z]", start) and is_text(start)
    return found or ("a web page or XML" if page else None)


def is_text(data: bytes | memoryview) -> bool:
    """Return whether bytes begin as text of printable ASCII does."""
    return re.fullmatch(rb"[\s!-~]{4,}", bytes(data[:256])) is not None


def read_header(data: bytes | memoryview) -> Header:
    """Read a JPEG's header, up to its first scan.

    Raises:
        ValueError: the bytes are no JPEG, one of a kind that is not read, or promise more than `MAX_PIXELS`.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        kind = kind_of(data) or ("text" if is_text(data) else None)
        raise ValueError("the bytes are not a whole JPEG" + (f": they are {kind}" if kind else ""))
    frame, position, restarts, end = None, 2, False, len(data)
    while position + 4 <= end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            position += 2
            continue
        if marker == 0xDA and frame is not None and position + 4 < end:  # start of a scan
            sequential, components, field = frame[1] in (0xC0, 0xC1), frame[2], frame[0]
            may_stop = sequential and components in (1, 3) and data[position + 4] == components and not restarts
            height, width = frame[3:]
            return Header(height, width, field if may_stop else None)
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAME:
            if frame is not None or position + 10 > end:
                break
            frame = (position + 5, marker, data[position + 9], *_checked(data, position, marker))
        elif marker == 0xDD and position + 6 <= end:
            restarts = bool(data[position + 4] or data[position + 5])
        position += 2 + (data[position + 2] << 8 | data[position + 3])
    raise ValueError("the bytes are not a whole JPEG")


def has_end(data: bytes | memoryview) -> bool:
    """Return whether the marker of a JPEG's end follows its scans; behind it may lie anything, as phones write films.

    The same marker inside of a segment, as of a thumbnail's end, does not count.
    """
    position = 2
    while found := MARKER.search(data, position):
        marker, position = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return True
        if marker not in (0x01, 0xD8):
            position += int.from_bytes(data[position : position + 2], "big")
    return False


def _checked(data: bytes | memoryview, position: int, marker: int) -> tuple[int, int]:
    """Return height and width of the frame that begins at `position`."""
    if marker not in READABLE_FRAMES:
        raise ValueError("a lossless or hierarchical JPEG is not read; save it as a baseline JPEG")
    if data[position + 4] != 8:
        raise ValueError(f"a JPEG of {data[position + 4]} bits a colour is not read; save it with 8")
    height, width = (data[place] << 8 | data[place + 1] for place in (position + 5, position + 7))
    if not height or not width:
        raise ValueError(f"the header promises {width}x{height} pixels")
    if max(height, width) > MAX_SIDE:
        raise ValueError(f"the header promises {width}x{height} pixels, more than the {MAX_SIDE} a side that are read")
    if height * width > MAX_PIXELS:
        raise ValueError(f"the header promises {width}x{height} pixels, more than the {MAX_PIXELS} that are read")
    if data[position + 9] not in (1, 3, 4):
        raise ValueError(f"a JPEG of {data[position + 9]} colours is not read")
    return height, width

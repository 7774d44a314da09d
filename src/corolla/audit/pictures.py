"""The photos of the audit's page: as many as it has room for, the first ones of each kind so that they open large."""

from collections.abc import Sequence
from dataclasses import dataclass

from corolla.data.survey import Survey
from corolla.plots.html import jpeg_uri, photo_jpeg

SIDE, QUALITY = 112, 60  # pixels of a small photo's longer side, and its JPEG's quality: some 3 kB
LARGE, LARGE_QUALITY = 448, 80  # of one that opens large, if it has so many pixels: 10 kB at 224
MOST_BYTES = 3_400_000  # of JPEG in all, a third more in base64


@dataclass(frozen=True)
class Picture:
    """A photo in the page."""

    uri: str
    is_large: bool
    """It has the pixels to be opened large."""


def pictures(photos: Survey, shown: Sequence[Sequence[int]]) -> list[list[Picture | None]]:
    """Return each photo of the lists as a picture, or None where there is no room left.

    Room is given to small ones first, to those that stand first in their lists; what is left, to large ones in the
    same order.

    Args:
        shown: numbers of photos, a list for each kind of findings.
    """
    order = sorted((position, kind) for kind, numbers in enumerate(shown) for position in range(len(numbers)))
    found: dict[tuple[int, int], tuple[bytes, bool]] = {}
    room = MOST_BYTES
    for position, kind in order:
        small = photo_jpeg(photos.image(shown[kind][position]), SIDE, quality=QUALITY)
        if (room := room - len(small)) < 0:
            break
        found[position, kind] = small, False
    for position, kind in list(found):
        large = photo_jpeg(photos.image(shown[kind][position]), LARGE, quality=LARGE_QUALITY)
        if (room := room - len(large) + len(found[position, kind][0])) < 0:
            break
        found[position, kind] = large, True
    result: list[list[Picture | None]] = [[None] * len(numbers) for numbers in shown]
    for (position, kind), (jpeg, is_large) in found.items():
        result[kind][position] = Picture(jpeg_uri(jpeg), is_large)
    return result

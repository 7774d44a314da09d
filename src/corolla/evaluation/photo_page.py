"""Files to look at after photos were classified: a table, a contact sheet, and a page, the surest photo first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corolla.evaluation.photo_predictions import PhotoPredictions
from corolla.files import replacing, write_atomically
from corolla.plots.contact_sheet import contact_sheet
from corolla.plots.html import jpeg_uri, photo_jpeg, template_environment
from corolla.text_files import printable

SIDE = 160  # pixels of a photo on the page
QUALITY = 80
MOST_BYTES = 6_000_000  # of JPEG on the page: the photos beyond are named without a picture
SHEET_PHOTOS, SHEET_COLUMNS, SHEET_CELL = 120, 6, 192  # of the contact sheet

PhotoReader = Callable[[int], NDArray[np.uint8]]
"""Returns a photo's pixels, H x W x 3."""


def write_photo_files(found: PhotoPredictions, read: PhotoReader, out: Path) -> tuple[Path, ...]:
    """Write `out` (CSV) and beside it the contact sheet and the page, each whole or not at all; return their paths."""
    _, sheet, page = files = written_files(out)
    with replacing(out) as temporary:
        found.to_pandas().to_csv(temporary, index=False, errors="surrogateescape")
    with replacing(sheet) as temporary:
        Image.fromarray(_sheet(found, read)).save(temporary, "PNG")
    write_atomically(page, _page(found, read).encode())
    return files


def written_files(out: Path) -> tuple[Path, Path, Path]:
    """Return the table, the contact sheet and the page that are written for `out`."""
    return out, out.with_suffix(".png"), out.with_suffix(".html")


def _sheet(found: PhotoPredictions, read: PhotoReader) -> NDArray[np.uint8]:
    """Draw the surest photos, at most SHEET_PHOTOS."""
    photos = found.surest_first[:SHEET_PHOTOS]
    titles = []
    for photo in photos:
        name, probability = found.likeliest(photo)[0]
        titles.append(f"{name} {probability:.0%} {printable(Path(found.paths[photo]).name)}")
    return contact_sheet([read(photo) for photo in photos], titles, columns=SHEET_COLUMNS, cell=SHEET_CELL)


def _page(found: PhotoPredictions, read: PhotoReader) -> str:
    num_bytes = 0
    cards = []
    for photo in found.surest_first:
        picture = ""
        if num_bytes < MOST_BYTES:
            jpeg = photo_jpeg(read(photo), SIDE, quality=QUALITY)
            picture, num_bytes = jpeg_uri(jpeg), num_bytes + len(jpeg)
        cards.append((printable(found.paths[photo]), picture, found.likeliest(photo)))
    return (
        template_environment("corolla.evaluation")
        .get_template("photos.html.j2")
        .render(
            cards=cards,
            broken={printable(path): reason for path, reason in found.broken.items()},
            runs=[run.name for run in found.runs],
            num_classes=len(found.class_names),
            side=SIDE,
        )
    )

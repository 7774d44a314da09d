"""Contact sheets: photos in rows, each with its title below."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 6  # pixels between tiles
LINES = 2  # of each title
FONT_SIZE = 12  # pixels
MIN_CELL, MAX_CELL = 128, 256  # a tile's side in pixels


def cell_side(size: int) -> int:
    """Return the side of cells for photos of `size` pixels: small ones are enlarged, large ones reduced."""
    return min(max(size, MIN_CELL), MAX_CELL)


def contact_sheet(images: Sequence[np.ndarray], titles: Sequence[str], *, columns: int, cell: int) -> np.ndarray:
    """Lay out uint8 (H, W, 3) images in rows, each fitted into `cell` x `cell` pixels, its title on two lines below.

    Returns the sheet, uint8 (height, width, 3).
    """
    font = _font()
    line = math.ceil(FONT_SIZE * 1.25)
    step_x, step_y = cell + GAP, cell + LINES * line + GAP
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (GAP + columns * step_x, GAP + rows * step_y), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(number, columns)
        x, y = GAP + column * step_x, GAP + row * step_y
        photo = _fit(Image.fromarray(image), cell)
        sheet.paste(photo, (x + (cell - photo.width) // 2, y + (cell - photo.height) // 2))
        for number_of_line, text in enumerate(_wrap(title, font, cell)):
            draw.text((x, y + cell + 1 + number_of_line * line), text, fill="black", font=font)
    return np.asarray(sheet)


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings: Pillow's own has neither accents nor Greek nor Cyrillic letters."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), FONT_SIZE)


def _fit(photo: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def _wrap(title: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a title into at most LINES lines of `width` pixels; one that doesn't fit ends in an ellipsis."""
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], " ".join(lines[LINES - 1 :])]
    return [_shorten(text, font, width) for text in lines]


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"

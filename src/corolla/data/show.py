"""A contact sheet of a data set: one tile a photo, classes named, so that a person can look at it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from corolla.data.decode import decode_jpeg
from corolla.data.index import Index, Split, load_index
from corolla.errors import UserError
from corolla.files import replacing

GAP = 6  # pixels between tiles
LINES = 2  # of title a tile
FONT_SIZE = 13  # pixels
MIN_CELL, MAX_CELL = 128, 256  # a tile's side in pixels: photos are enlarged or reduced to it


def show(
    data: Path,
    *,
    size: int | None = None,
    split: str = "train",
    per_class: int = 1,
    seed: int = 0,
    out: Path | None = None,
    cache: Path | None = None,
) -> Path:
    """Write a contact sheet of a data folder: photos of each class, chosen by `seed`, under its index and name.

    A split without labels is shown as its first photos under their ids, as many as there would be tiles. `out` is by
    default `contact-FOLDER-SIZExSIZE-SPLIT.png` in the current folder. Returns the path written.
    Raises UserError where the data or the split is missing or a photo can't be decoded.
    """
    if per_class < 1:
        raise UserError(f"per_class {per_class}: must be at least 1")
    if seed < 0:
        raise UserError(f"seed {seed}: must not be negative")
    index = load_index(data, size, cache)
    if split not in index.splits:
        raise UserError(f"{data} has no split {split!r}; there are {', '.join(index.splits)}")
    rows = _choose(index, split, per_class, seed)
    photos = _read(index.folder, index.splits[split], rows)
    cell = min(max(index.size, MIN_CELL), MAX_CELL)
    columns = max(
        per_class, round(math.sqrt(len(rows) * 1.6) / per_class) * per_class
    )  # a class's photos stay in one row
    sheet = contact_sheet(photos, _titles(index, split, rows), columns=columns, cell=cell)
    out = out or Path(f"contact-{data.resolve().name}-{index.size}x{index.size}-{split}.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        Image.fromarray(sheet).save(temporary, "PNG")
    return out


def contact_sheet(images: Sequence[np.ndarray], titles: Sequence[str], *, columns: int, cell: int) -> np.ndarray:
    """Lay out uint8 (H, W, 3) images in rows, each fitted into `cell` x `cell` pixels, its title on two lines below.

    Returns the sheet, uint8 (height, width, 3).
    """
    font = ImageFont.load_default(FONT_SIZE)
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


def _fit(photo: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def _wrap(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a title into at most LINES lines of `width` pixels; what doesn't fit ends in an ellipsis."""
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


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _choose(index: Index, split: str, per_class: int, seed: int) -> list[int]:
    """Rows of the split to show: by class where there are labels, else the first ones."""
    labels = index.splits[split].label
    if (labels < 0).all():
        return list(range(min(len(labels), per_class * len(index.class_names))))
    rng = np.random.default_rng(seed)
    rows: list[int] = []
    for label in range(len(index.class_names)):
        found = np.flatnonzero(labels == label)
        rows += np.sort(rng.permutation(found)[:per_class]).tolist()
    return rows


def _titles(index: Index, split: str, rows: list[int]) -> list[str]:
    photos = index.splits[split]
    return [
        f"{photos.label[row]} {index.class_names[photos.label[row]]}" if photos.label[row] >= 0 else str(photos.id[row])
        for row in rows
    ]


def _read(folder: Path, split: Split, rows: list[int]) -> list[np.ndarray]:
    photos = []
    for row in rows:
        path, offset = folder / split.files[split.file[row]], int(split.offset[row])
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(int(split.length[row]))
        try:
            photos.append(decode_jpeg(data))
        except ValueError as error:
            raise UserError(f"{path}:{split.start[row]} record {split.record[row]}: {error}") from None
    return photos

"""A contact sheet of a data set: one tile a photo, classes named, so that a person can look at it."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from corolla.config import Config
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import decode_jpeg
from corolla.data.index import Index, Split, load_index
from corolla.data.statistics import data_statistics
from corolla.data.transforms.train import TrainTransform, needs_statistics
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.data.transforms.views import ViewsTransform
from corolla.errors import UserError
from corolla.files import replacing
from corolla.models.pretrained import DEFAULT_CROP_FRACTION
from corolla.plots.contact_sheet import MAX_CELL, MIN_CELL, contact_sheet

NUM_PHOTOS = 8  # rows of an augmented sheet


def show(
    data: Path,
    *,
    size: int | None = None,
    split: str = "train",
    per_class: int = 1,
    seed: int = 0,
    out: Path | None = None,
    cache_dir: Path | None = None,
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
    index = load_index(data, size, cache_dir)
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
    return _save(sheet, out)


def show_augmented(
    config: Config,
    *,
    epochs: int = 6,
    tta: TTA | None = None,
    out: Path | None = None,
) -> Path:
    """Write a contact sheet of what a network is given: a row per photo, as stored and as its epochs would see it.

    The crops are those that training `config` makes, a function of (seed, epoch, photo). With `tta` they are the views
    that prediction averages instead, of val photos.

    Raises UserError where the data is missing or a photo can't be decoded.
    """
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: at least 1 is expected")
    index = load_index(config.data, config.size, config.cache_dir)
    size = config.input_size or index.size
    interpolation, crop_fraction = _preprocessing(config, index, size)
    transform: Any
    if tta is None:
        needed = needs_statistics(config.augment)
        colors = data_statistics(index, ("train",), cache_dir=config.cache_dir).color if needed else None
        transform = TrainTransform(config.augment, size, statistics=colors, interpolation=interpolation)
        photos = TFRecordDataset(index, "train", transform, seed=config.train.seed)
    else:
        transform = ViewsTransform(
            size,
            parse_tta(tta),
            crop_fraction=crop_fraction,
            interpolation=interpolation,
            augment=config.augment,
        )
        photos = TFRecordDataset(index, "val", transform)
    tiles, titles = [], []
    for row in np.linspace(0, len(photos) - 1, min(NUM_PHOTOS, len(photos)), dtype=int).tolist():
        name = f"{photos.split.label[row]} {index.class_names[photos.split.label[row]]}"
        if tta is None:
            crops = [photos[epoch, row].image for epoch in range(epochs)]
        else:
            groups = transform.split(torch.from_numpy(photos[row].image)[None])
            crops = [view.numpy() for group in groups for view in group[0]]
        tiles += [photos.image(row), *crops]
        titles += [name, *(f"epoch {n + 1}" if tta is None else f"view {n + 1}" for n in range(len(crops)))]
    cell = min(max(size, MIN_CELL), MAX_CELL)
    sheet = contact_sheet(tiles, titles, columns=len(tiles) // min(NUM_PHOTOS, len(photos)), cell=cell)
    what = f"augmented-seed{config.train.seed}" if tta is None else parse_tta(tta).name
    return _save(sheet, out or Path(f"contact-{config.data.resolve().name}-{index.size}x{index.size}-{what}.png"))


def _preprocessing(config: Config, index: Index, size: int) -> tuple[Literal["bilinear", "bicubic"], float]:
    """Interpolation and crop fraction: they travel with pretrained weights."""
    found = None
    if config.model.weights != "none":
        from corolla.models.factory import build_model
        from corolla.models.pretrained import load_weights

        num_classes = len(index.class_names)
        found = load_weights(build_model(config.model, num_classes, size), config.model, num_classes, size)
    fraction = found.crop_fraction if found is not None else DEFAULT_CROP_FRACTION
    return found.interpolation if found is not None else "bilinear", config.augment.crop_fraction or fraction


def _save(sheet: np.ndarray, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        Image.fromarray(sheet).save(temporary, "PNG")
    return out


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

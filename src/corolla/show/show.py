"""`corolla show`: contact sheets of a data set's photos, as they are stored or as a network is given them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from corolla.config import Config
from corolla.data.corrections import training_index
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index, Split, load_index
from corolla.data.statistics import data_statistics
from corolla.data.transforms.train import TrainTransform, needs_statistics
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.data.transforms.views import ViewsTransform
from corolla.errors import UserError
from corolla.files import replacing
from corolla.models.pretrained import DEFAULT_CROP_FRACTION
from corolla.paths import AnyPath, as_path
from corolla.plots.contact_sheet import cell_side, contact_sheet

NUM_PHOTOS = 8  # rows of an augmented sheet

Versions = Callable[[int], list[np.ndarray]]
"""The crops that a network is given of a photo, by its row in the split."""


def show(
    data: AnyPath,
    *,
    size: int | None = None,
    split: str = "train",
    per_class: int = 1,
    seed: int = 0,
    out: AnyPath | None = None,
    cache_dir: AnyPath | None = None,
) -> Path:
    """Write a contact sheet of a data folder: photos of each class, chosen by `seed`, under its index and name.

    A split without labels is shown as its first photos under their ids, as many as there would be tiles. `out` is by
    default `contact-FOLDER-SIZExSIZE-SPLIT.png` in the current folder. Returns the path written.

    Raises:
        UserError: the data or the split is missing, or a photo can't be decoded.
    """
    if per_class < 1:
        raise UserError(f"per_class {per_class}: must be at least 1")
    if seed < 0:
        raise UserError(f"seed {seed}: must not be negative")
    data = as_path(data)
    index = load_index(data, size, as_path(cache_dir))
    if split not in index.splits:
        raise UserError(f"{data} has no split {split!r}; there are {', '.join(index.splits)}")
    photos = TFRecordDataset(index, split)
    rows = _choose(photos.split, len(index.class_names), per_class, seed)
    tiles = [photos.image(row) for row in rows]
    titles = [_title(index, photos.split, row) for row in rows]
    # A class's photos stay in one row.
    columns = max(per_class, round(math.sqrt(len(rows) * 1.6) / per_class) * per_class)
    sheet = contact_sheet(tiles, titles, columns=columns, cell=cell_side(index.size))
    return _save(sheet, as_path(out) or _default_path(data, index, split))


def show_augmented(config: Config, *, epochs: int = 6, tta: TTA | None = None, out: Path | None = None) -> Path:
    """Write a contact sheet of a network's input: a row for each photo, as stored and as its epochs would see it.

    The crops are those that training `config` makes, a function of (seed, epoch, photo). With `tta` they are the views
    that prediction averages instead, of val photos. Returns the path written.

    Raises:
        UserError: the data is missing, or a photo can't be decoded.
    """
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: at least 1 is expected")
    index = load_index(config.data, config.size, config.cache_dir)
    size = config.input_size or index.size
    if tta is None:
        photos, versions = _training_crops(config, index, size, epochs)
        kind, name = "epoch", f"augmented-seed{config.train.seed}"
    else:
        photos, versions = _test_time_views(config, index, size, tta)
        kind, name = "view", parse_tta(tta).name
    rows = np.linspace(0, len(photos) - 1, min(NUM_PHOTOS, len(photos)), dtype=int).tolist()
    tiles, titles = [], []
    for row in rows:
        crops = versions(row)
        tiles += [photos.image(row), *crops]
        titles += [_title(index, photos.split, row), *(f"{kind} {n + 1}" for n in range(len(crops)))]
    sheet = contact_sheet(tiles, titles, columns=len(tiles) // len(rows), cell=cell_side(size))
    return _save(sheet, out or _default_path(config.data, index, name))


def _training_crops(config: Config, index: Index, size: int, epochs: int) -> tuple[TFRecordDataset, Versions]:
    interpolation, _ = _preprocessing(config, index, size)
    index = training_index(index, config.train, cache_dir=config.cache_dir)
    needed = needs_statistics(config.augment)
    colors = data_statistics(index, ("train",), cache_dir=config.cache_dir).color if needed else None
    transform = TrainTransform(
        config.augment, size, statistics=colors, interpolation=interpolation, epochs=config.train.epochs
    )
    photos = TFRecordDataset(index, "train", transform, seed=config.train.seed)
    return photos, lambda row: [photos[epoch, row].image for epoch in range(epochs)]


def _test_time_views(config: Config, index: Index, size: int, tta: TTA) -> tuple[TFRecordDataset, Versions]:
    interpolation, crop_fraction = _preprocessing(config, index, size)
    transform = ViewsTransform(
        size, parse_tta(tta), crop_fraction=crop_fraction, interpolation=interpolation, augment=config.augment
    )
    photos = TFRecordDataset(index, "val", transform)

    def views(row: int) -> list[np.ndarray]:
        groups = transform.split(torch.from_numpy(photos[row].image)[None])
        return [view.numpy() for group in groups for view in group[0]]

    return photos, views


def _preprocessing(config: Config, index: Index, size: int) -> tuple[Literal["bilinear", "bicubic"], float]:
    """Return interpolation and crop fraction: they come with pretrained weights."""
    found = None
    if config.model.weights != "none":
        from corolla.models.factory import build_model
        from corolla.models.pretrained import load_weights

        num_classes = len(index.class_names)
        found = load_weights(build_model(config.model, num_classes, size), config.model, num_classes, size, quiet=True)
    fraction = found.crop_fraction if found is not None else DEFAULT_CROP_FRACTION
    return found.interpolation if found is not None else "bilinear", config.augment.crop_fraction or fraction


def _choose(split: Split, num_classes: int, per_class: int, seed: int) -> list[int]:
    """Return the rows of the split to show: by class where there are labels, else the first ones."""
    if (split.label < 0).all():
        return list(range(min(len(split), per_class * num_classes)))
    rng = np.random.default_rng(seed)
    rows: list[int] = []
    for label in range(num_classes):
        found = np.flatnonzero(split.label == label)
        rows += np.sort(rng.permutation(found)[:per_class]).tolist()
    return rows


def _title(index: Index, split: Split, row: int) -> str:
    label = int(split.label[row])
    return f"{label} {index.class_names[label]}" if label >= 0 else str(split.id[row])


def _default_path(data: Path, index: Index, name: str) -> Path:
    return Path(f"contact-{data.resolve().name}-{index.size}x{index.size}-{name}.png")


def _save(sheet: np.ndarray, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        Image.fromarray(sheet).save(temporary, "PNG")
    return out

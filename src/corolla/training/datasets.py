"""Build the datasets of a run: the augmented training set, and val, where there is one, by its centre crop."""

import dataclasses

from corolla.config import Config
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.statistics import ColorStatistics, data_statistics
from corolla.data.transforms.train import TrainTransform, needs_statistics
from corolla.data.transforms.tta import Views
from corolla.data.transforms.views import ViewsTransform
from corolla.models.pretrained import IMAGENET
from corolla.runs.checkpoint import ModelMeta


def build_datasets(meta: ModelMeta, index: Index) -> tuple[TFRecordDataset, TFRecordDataset | None]:
    """Build the augmented training set and the centre-crop validation set; None where a run validates nothing."""
    config, size = meta.config, meta.input_size
    train_transform = TrainTransform(
        config.augment,
        size,
        statistics=train_color(config, index) if needs_statistics(config.augment) else None,
        interpolation=meta.preprocessing.interpolation,
        epochs=config.train.epochs,
    )
    bad_images = config.pipeline.bad_images
    train = TFRecordDataset(index, "train", train_transform, seed=config.train.seed, bad_images=bad_images)
    if config.train.on == "train+val":
        return train, None
    return train, TFRecordDataset(index, "val", val_transform(meta), bad_images=bad_images)


def val_transform(meta: ModelMeta) -> ViewsTransform:
    """Return the centre crop by which the network is validated."""
    preprocessing = meta.preprocessing
    return ViewsTransform(
        meta.input_size, Views(), crop_fraction=preprocessing.crop_fraction, interpolation=preprocessing.interpolation
    )


def normalisation(config: Config, index: Index) -> ColorStatistics:
    """Return the colour statistics whose mean and std normalise pixels in training from scratch (--augment.normalise).

    The training photos are decoded in any case, so that one that does not decode is found before the first step.
    """
    color, choice = train_color(config, index), config.augment.normalise
    if choice == "imagenet":
        return dataclasses.replace(color, mean=IMAGENET.mean, std=IMAGENET.std)
    if choice == "train+val":
        return _color(config, index, "train", "val")
    return color


def train_color(config: Config, index: Index) -> ColorStatistics:
    """Return the colour statistics of the training photos, which decodes all of them, unless they are cached."""
    return _color(config, index, "train")


def _color(config: Config, index: Index, *splits: str) -> ColorStatistics:
    bad_images = config.pipeline.bad_images
    return data_statistics(index, splits, cache_dir=config.cache_dir, bad_images=bad_images).color

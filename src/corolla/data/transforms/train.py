"""The transform of training: from a decoded photo to crop, mirror, drawn operations, colour changes and erasing.

uint8 RGB in and out; normalising is done on the device. Every random choice comes from the generator that is passed,
which is a function of (seed, epoch, sample).
"""

import threading
from typing import Any, NamedTuple

import numpy as np

from corolla.config import AugmentConfig
from corolla.config.progressive_resizing import epoch_size
from corolla.data.dataset import Box
from corolla.data.decode import Image, Interpolation, mirror, resize
from corolla.data.statistics import ColorStatistics
from corolla.data.transforms.auto_augment import Operation, apply_operations, draw_operations
from corolla.data.transforms.crops import random_resized_crop, resnet_crop
from corolla.data.transforms.erasing import Painted, draw_erasing, paint


def needs_statistics(config: AugmentConfig) -> bool:
    """Return whether a `TrainTransform` needs the colours of the training images."""
    own_axes = config.pca_noise and config.pca_axes == "data"
    has_fill = config.cutout or config.rand_augment or config.trivial_augment
    return bool(own_axes or has_fill or (config.erase and config.erase_fill == "mean"))


class Decisions(NamedTuple):
    """Everything that is drawn for a photo beside its crop."""

    is_mirrored: bool
    color_seed: int | None
    """Seed of the colour changes; None: there are none."""
    painted: tuple[Painted | None, Painted | None]
    """By random erasing, then by cutout."""
    operations: tuple[Operation, ...]
    """Operations of RandAugment or TrivialAugment, in their order."""


class TrainTransform:
    """Random crop to `size` x `size`, mirror, and the operations, colour changes and erasing that the config has on.

    They come in this order, as in timm.
    """

    def __init__(
        self,
        config: AugmentConfig,
        size: int,
        *,
        statistics: ColorStatistics | None = None,
        interpolation: Interpolation = "bilinear",
        epochs: int | None = None,
    ) -> None:
        """Set up the transform to images of `size` pixels a side.

        Args:
            statistics: those of the training images, where `needs_statistics` says so.
            epochs: the length of the run, over which progressive resizing grows to `size`; None: it is always `size`.
        """
        assert statistics is not None or not needs_statistics(config)
        self.config = config
        self.size = size
        self.statistics = statistics
        self.epochs = epochs
        self.interpolation: Interpolation = interpolation
        mean = statistics.mean if statistics is not None else (0, 0, 0)  # unused in that case
        self.mean = np.rint(255 * np.asarray(mean)).astype(np.uint8)
        self._smaller: dict[int, TrainTransform] = {}
        self._local = threading.local()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, (size, size, 3)."""
        return self.size, self.size, 3

    def at(self, epoch: int) -> "TrainTransform":
        """Return the same transform to the size that images have in an epoch (--augment.start-size)."""
        size = epoch_size(self.config, self.size, epoch, self.epochs) if self.epochs else self.size
        if size == self.size:
            return self
        if size not in self._smaller:
            self._smaller[size] = TrainTransform(
                self.config, size, statistics=self.statistics, interpolation=self.interpolation
            )
        return self._smaller[size]

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Box:
        """Draw the crop of a photo of `height` x `width`."""
        config = self.config
        if config.crop == "resnet":
            return resnet_crop(width, height, sides=config.shorter_side, size=self.size, rng=rng)
        return random_resized_crop(width, height, area=config.area, aspect=config.aspect, rng=rng)

    def apply(self, image: Image, box: Box, rng: np.random.Generator, out: Image) -> None:
        """Fill `out` (size x size x 3) with the box of `image`."""
        left, top, width, height = box
        decided = self.decide(rng)
        crop = image[top : top + height, left : left + width]
        resize(crop, self.size, self.size, self.interpolation, out=out)
        if decided.is_mirrored:
            mirror(out)
        if decided.operations:
            apply_operations(out, decided.operations, self.mean)
        if decided.color_seed is not None:
            compose = self.color_changes()
            compose.set_random_seed(decided.color_seed)
            out[...] = compose(image=out)["image"]
        for each in decided.painted:
            if each is not None:
                paint(out, each)

    def decide(self, rng: np.random.Generator) -> Decisions:
        """Draw everything beside the crop, after it."""
        config = self.config
        return Decisions(
            is_mirrored=config.flip and bool(rng.random() < 0.5),
            color_seed=int(rng.integers(2**32)) if config.color or config.pca_noise else None,
            painted=draw_erasing(config, self.size, self.size, self.mean, rng),
            operations=draw_operations(config, self.size, rng),  # last, so that the draws before it are as without
        )

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the transformed image (size x size x 3) of `image` (H x W x 3)."""
        out = np.empty(self.shape, np.uint8)
        self.apply(image, self.draw(image.shape[0], image.shape[1], rng), rng, out)
        return out

    def color_changes(self) -> Any:
        """Return this thread's albumentations Compose of the colour changes."""
        # albumentations' Compose has a generator inside, so each thread has one of its own.
        if not hasattr(self._local, "compose"):
            from corolla.data.transforms.color import color_compose

            self._local.compose = color_compose(self.config, self.statistics)
        return self._local.compose

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_local": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

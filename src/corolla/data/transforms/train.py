"""What happens between the decoded photo and the network: one function for training, one for evaluation.

Both take and give uint8 RGB; normalising is done on the device. Every random choice comes from the generator that is
handed in, which is a function of (seed, epoch, sample).
"""

import threading
from typing import Any

import numpy as np

from corolla.config import AugmentConfig, PipelineConfig
from corolla.data.boxes import random_resized_box, resnet_box
from corolla.data.decode import Image, Interpolation, Stored, mirrored_resize, resize, resize_antialiased
from corolla.data.erasing import erase
from corolla.data.flowers import Box
from corolla.data.growth import size_of_epoch
from corolla.data.stats import ColorStatistics
from corolla.evaluation.tta import CropViews


def needs_statistics(config: AugmentConfig) -> bool:
    """Whether a `TrainTransform` needs the colours of the training images."""
    return bool(config.pca_noise or config.cutout or (config.erase and config.erase_fill == "mean"))


class TrainTransform:
    """Random crop to `size` x `size`, mirror, and the colour changes and erasing that the config switches on."""

    def __init__(
        self,
        config: AugmentConfig,
        size: int,
        *,
        statistics: ColorStatistics | None = None,
        interpolation: Interpolation = "bilinear",
        epochs: int | None = None,
    ) -> None:
        """`statistics` are those of the training images (see `needs_statistics`); `epochs` is the length of the run,
        in which progressive resizing comes to `size`: without it all epochs have that size."""
        assert statistics is not None or not needs_statistics(config)
        self.config = config
        self.size = size
        self.statistics = statistics
        self.epochs = epochs
        self.interpolation: Interpolation = interpolation
        mean = statistics.mean if statistics is not None else (0, 0, 0)  # which is not looked at then
        self._mean = np.rint(255 * np.asarray(mean)).astype(np.uint8)
        self._smaller: dict[int, TrainTransform] = {}
        self._local = threading.local()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it gives."""
        return self.size, self.size, 3

    def at(self, epoch: int) -> "TrainTransform":
        """The same to the size that images have in an epoch (--augment.start-size)."""
        size = size_of_epoch(self.config, self.size, epoch, self.epochs) if self.epochs else self.size
        if size == self.size:
            return self
        if size not in self._smaller:
            self._smaller[size] = TrainTransform(
                self.config, size, statistics=self.statistics, interpolation=self.interpolation
            )
        return self._smaller[size]

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Box:
        """Where to crop a photo of `height` x `width`."""
        config = self.config
        if config.crop == "resnet":
            return resnet_box(width, height, sides=config.shorter_side, size=self.size, rng=rng)
        return random_resized_box(width, height, area=config.area, aspect=config.aspect, rng=rng)

    def apply(self, image: Image, box: Box, rng: np.random.Generator, out: Image) -> None:
        """Fill `out` (size x size x 3) with the box of `image`."""
        left, top, width, height = box
        crop = image[top : top + height, left : left + width]
        fit = mirrored_resize if self.config.flip and rng.random() < 0.5 else resize
        fit(crop, self.size, self.size, self.interpolation, out=out)
        if self.config.color or self.config.pca_noise:
            compose = self._compose()
            compose.set_random_seed(int(rng.integers(2**32)))
            out[...] = compose(image=out)["image"]
        erase(out, self.config, self._mean, rng)

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """`image` H x W x 3 -> size x size x 3."""
        out = np.empty(self.shape, np.uint8)
        self.apply(image, self.draw(image.shape[0], image.shape[1], rng), rng, out)
        return out

    def _compose(self) -> Any:
        # albumentations' Compose keeps its generator inside, so each thread has one of its own.
        if not hasattr(self._local, "compose"):
            from corolla.data.color import color_compose

            self._local.compose = color_compose(self.config, self.statistics)
        return self._local.compose

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_local": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())


class EvalTransform:
    """Resize the shorter side to size / crop fraction, **then** crop: the fixed views that `tta` names.

    none: the centre. flip: that and its mirror. ten-crop: four corners and the centre, each with its mirror
    (Krizhevsky et al. 2012, section 4.1). More views are in data/views.py; evaluation/tta.py averages them.
    """

    def __init__(
        self,
        size: int,
        *,
        crop_fraction: float,
        interpolation: Interpolation = "bilinear",
        tta: CropViews = "none",
    ) -> None:
        self.size = size
        self.resized = max(size, round(size / crop_fraction))
        self.interpolation: Interpolation = interpolation
        self.tta: CropViews = tta

    @property
    def num_views(self) -> int:
        return {"none": 1, "flip": 2, "ten-crop": 10}[self.tta]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it gives."""
        return self.num_views, self.size, self.size, 3

    def at(self, epoch: int) -> "EvalTransform":
        """Itself: evaluation is the same in every epoch."""
        return self

    def draw(self, height: int, width: int, rng: np.random.Generator | None) -> Box:
        """All of the photo: nothing is random."""
        return 0, 0, width, height

    def apply(self, image: Image, box: Box, rng: np.random.Generator | None, out: Image) -> None:
        """Fill `out` (views x size x size x 3) with the views of `image`."""
        _, _, width, height = box
        scale = self.resized / min(width, height)
        width, height = max(self.resized, round(width * scale)), max(self.resized, round(height * scale))
        image = resize_antialiased(image, width, height, self.interpolation)
        right, bottom = width - self.size, height - self.size
        corners = [(round(bottom / 2), round(right / 2))]
        if self.tta == "ten-crop":
            corners += [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        for view, (top, left) in enumerate(corners):
            out[view] = image[top : top + self.size, left : left + self.size]
        if self.tta != "none":
            out[len(corners) :] = out[: len(corners), :, ::-1]

    def __call__(self, image: Image, rng: np.random.Generator | None = None) -> Image:
        """`image` H x W x 3 -> views x size x size x 3; nothing is random, so `rng` is left alone."""
        out = np.empty(self.shape, np.uint8)
        self.apply(image, self.draw(image.shape[0], image.shape[1], rng), rng, out)
        return out


def stored_as(config: PipelineConfig) -> Stored:
    """The size in which a run's photos are kept."""
    return Stored(half_size=config.half_size, side=config.stored_side)

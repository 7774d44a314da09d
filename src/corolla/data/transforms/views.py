"""The transform of test-time augmentation: from a decoded photo to all views at once (their names: tta.py)."""

import math
from typing import NamedTuple

import numpy as np
import torch

from corolla.config import AugmentConfig
from corolla.data.dataset import Box
from corolla.data.decode import Image, Interpolation, resize
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform
from corolla.data.transforms.tta import SCALES, Views


class ViewGroup(NamedTuple):
    """Views of one size."""

    num_views: int
    side: int
    """Side of the views in pixels; they are square."""
    whole: bool
    """True where they show the whole photo, for the network in fully convolutional form."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.num_views, self.side, self.side, 3


class ViewsTransform:
    """Turns a photo into all its views, so that it is decoded once.

    Views of one size come as views x side x side x 3. Those of several sizes follow each other in one row of bytes, as
    a batch has to be one array; `split` takes them apart.
    """

    def __init__(
        self,
        size: int,
        views: Views,
        *,
        crop_fraction: float,
        interpolation: Interpolation = "bilinear",
        augment: AugmentConfig | None = None,
    ) -> None:
        """Set up the transform.

        Args:
            size, crop_fraction: the weights' own; those of `views` go before them.
            augment: the settings that the run was trained with, for random-N.
        """
        self.size = views.size or size
        self.views = views
        self.interpolation: Interpolation = interpolation
        fraction = views.crop_fraction or crop_fraction
        self._fixed: list[EvalTransform] = []
        self.groups: list[ViewGroup] = []
        num_crops = views.num_random * (2 if views.flip else 1)
        if views.crops is not None:
            fixed = EvalTransform(self.size, crop_fraction=fraction, interpolation=interpolation, tta=views.crops)
            self._fixed.append(fixed)
            num_crops += fixed.num_views
        if num_crops:
            self.groups.append(ViewGroup(num_crops, self.size, whole=False))
        self._scales = [
            EvalTransform(
                round(scale * self.size / SCALES[0]),
                crop_fraction=1.0,
                interpolation=interpolation,
                tta="flip" if views.flip else "none",
            )
            for scale in (SCALES if views.multi_scale else ())
        ]
        self.groups += [ViewGroup(scale.num_views, scale.size, whole=True) for scale in self._scales]
        # Of training's augmentation only the crop is wanted here; colours stay as they are.
        own = augment or AugmentConfig()
        crop = AugmentConfig(crop=own.crop, shorter_side=own.shorter_side, area=own.area, aspect=own.aspect)
        self._training = TrainTransform(crop, self.size, interpolation=interpolation)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output: of its one group, or a row of bytes."""
        if len(self.groups) == 1:
            return self.groups[0].shape
        return (sum(math.prod(group.shape) for group in self.groups),)

    def at(self, epoch: int) -> "ViewsTransform":
        """Return itself: prediction has no epochs."""
        return self

    def cost(self, size: int) -> float:
        """Return how many views of `size` pixels a side have as many pixels as all views together."""
        return sum(group.num_views * group.side**2 for group in self.groups) / size**2

    def draw(self, height: int, width: int, rng: np.random.Generator | None) -> Box:
        """Return the whole photo, of which the views are taken."""
        return 0, 0, width, height

    def apply(self, image: Image, box: Box, rng: np.random.Generator, out: Image) -> None:
        """Fill `out` (of `shape`) with the views of `image`."""
        places = [place[0].numpy() for place in self.split(torch.from_numpy(out)[None])]
        done = 0
        for crops in self._fixed:
            crops.apply(image, box, rng, places[0][: crops.num_views])
            done = crops.num_views
        if self.views.num_random:
            self._apply_random(image, rng, places[0][done:])
        for scale, place in zip(self._scales, places[len(places) - len(self._scales) :], strict=True):
            scale.apply(image, box, rng, place)

    def split(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Split a batch (N x `shape`) into N x views x side x side x 3 for each of `groups`, without a copy."""
        if len(self.groups) == 1:
            return [images]
        rows = images.split([math.prod(group.shape) for group in self.groups], dim=1)
        return [row.unflatten(1, group.shape) for row, group in zip(rows, self.groups, strict=True)]

    def __call__(self, image: Image, rng: np.random.Generator | None = None) -> list[Image]:
        """Return views x side x side x 3 of `image` (H x W x 3) for each of `groups`; only random-N needs `rng`."""
        out = np.empty(self.shape, np.uint8)
        height, width = image.shape[:2]
        self.apply(image, self.draw(height, width, rng), rng or np.random.default_rng(0), out)
        return [part[0].numpy() for part in self.split(torch.from_numpy(out)[None])]

    def _apply_random(self, image: Image, rng: np.random.Generator, out: Image) -> None:
        count = self.views.num_random
        for view in out[:count]:
            left, top, width, height = self._training.draw(image.shape[0], image.shape[1], rng)
            resize(image[top : top + height, left : left + width], self.size, self.size, self.interpolation, out=view)
        if self.views.flip:
            out[count:] = out[:count, :, ::-1]

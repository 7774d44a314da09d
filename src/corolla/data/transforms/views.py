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


class ViewsTransform:
    """Turns a photo into all its views, so that it is decoded and resized once.

    What a worker makes (`apply`) has no mirrors, and where all photos are square its fixed crops are not cut out yet:
    `split` does both for a whole batch, on the device that computes, to the same pixels. So a GPU gets an eighth of the
    bytes of ten-crop, and no core waits for memory. What is made for views of several sizes follows each other in one
    row of bytes, as a batch has to be one array.
    """

    def __init__(
        self,
        size: int,
        views: Views,
        *,
        crop_fraction: float,
        interpolation: Interpolation = "bilinear",
        augment: AugmentConfig | None = None,
        all_square: bool = False,
    ) -> None:
        """Set up the transform.

        Args:
            size, crop_fraction: the weights' own; those of `views` go before them.
            augment: the settings that the run was trained with, for random-N.
            all_square: the photos are, whatever their sizes.
        """
        self.size = views.size or size
        self.views = views
        self.interpolation: Interpolation = interpolation
        fraction = views.crop_fraction or crop_fraction
        self._fixed = None
        if views.crops is not None:
            self._fixed = EvalTransform(self.size, crop_fraction=fraction, interpolation=interpolation, tta=views.crops)
        self._scales = [
            EvalTransform(
                round(scale * self.size / SCALES[0]),
                crop_fraction=1.0,
                interpolation=interpolation,
                tta="flip" if views.flip else "none",
            )
            for scale in (SCALES if views.multi_scale else ())
        ]
        # Of training's augmentation only the crop is wanted here; colours stay as they are.
        own = augment or AugmentConfig()
        crop = AugmentConfig(crop=own.crop, shorter_side=own.shorter_side, area=own.area, aspect=own.aspect)
        self._training = TrainTransform(crop, self.size, interpolation=interpolation)
        self._is_uncut = all_square and self._fixed is not None and self._fixed.num_crops > 1 and not views.num_random
        self.groups, self._made = self._layout()
        self.recipe = (size, views, fraction, interpolation, crop, all_square)
        """Equal where the same is made of a photo."""

    def _layout(self) -> tuple[list[ViewGroup], list[tuple[int, ...]]]:
        """Return the groups of views, and of each the shape of what a worker makes for it."""
        groups, made, num_random = list[ViewGroup](), list[tuple[int, ...]](), self.views.num_random
        if self._fixed is not None or num_random:
            num_crops = num_random + (self._fixed.num_crops if self._fixed is not None else 0)
            num_views = num_random * (2 if self.views.flip else 1)
            num_views += self._fixed.num_views if self._fixed is not None else 0
            groups.append(ViewGroup(num_views, self.size, whole=False))
            made.append((num_crops, self.size, self.size, 3))
            if self._is_uncut and self._fixed is not None:
                made[0] = (self._fixed.resized, self._fixed.resized, 3)
        for scale in self._scales:
            groups.append(ViewGroup(scale.num_views, scale.size, whole=True))
            made.append((1, scale.size, scale.size, 3))
        return groups, made

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is made of a photo: for its one group of views, or a row of bytes."""
        return self._made[0] if len(self._made) == 1 else (sum(map(math.prod, self._made)),)

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
        """Fill `out` (of `shape`) with what `split` makes the views of."""
        places = [place[0].numpy() for place in self._apart(torch.from_numpy(out)[None])]
        if self._fixed is not None and self._is_uncut:
            self._fixed.resize(image, out=places[0])
        elif self._fixed is not None:
            self._fixed.crop(image, places[0][: self._fixed.num_crops])
        if self.views.num_random:
            for view in places[0][-self.views.num_random :]:
                left, top, width, height = self._training.draw(image.shape[0], image.shape[1], rng)
                crop = image[top : top + height, left : left + width]
                resize(crop, self.size, self.size, self.interpolation, out=view)
        for scale, place in zip(self._scales, places[len(places) - len(self._scales) :], strict=True):
            scale.crop(image, place)

    def split(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return N x views x side x side x 3 for each of `groups`, of a batch N x `shape`, on its device."""
        rows = self._apart(images)
        views = [self._mirrored(row, self.views.flip) for row in rows[len(rows) - len(self._scales) :]]
        return views if len(views) == len(rows) else [self._crops(rows[0]), *views]

    def _apart(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return what was made for each of the groups, without a copy."""
        if len(self._made) == 1:
            return [images]
        rows = images.split([math.prod(shape) for shape in self._made], dim=1)
        return [row.unflatten(1, shape) for row, shape in zip(rows, self._made, strict=True)]

    def _crops(self, made: torch.Tensor) -> torch.Tensor:
        """Return the fixed crops, their mirrors, the random ones and theirs."""
        views, fixed = self.views, self._fixed
        if fixed is not None and self._is_uncut:
            cuts = (made[:, top:, left:][:, : self.size, : self.size] for top, left in fixed.corners(*made.shape[1:3]))
            return self._mirrored(torch.stack(list(cuts), 1), True)
        if fixed is None:
            return self._mirrored(made, views.flip)
        crops = self._mirrored(made[:, : fixed.num_crops], fixed.tta != "none")
        if not views.num_random:
            return crops
        return torch.cat([crops, self._mirrored(made[:, fixed.num_crops :], views.flip)], 1)

    @staticmethod
    def _mirrored(views: torch.Tensor, mirrors: bool) -> torch.Tensor:
        """Return views, and behind them their mirrors, where these are wanted."""
        return torch.cat([views, views.flip(3)], 1) if mirrors else views

    def __call__(self, image: Image, rng: np.random.Generator | None = None) -> list[Image]:
        """Return views x side x side x 3 of `image` (H x W x 3) for each of `groups`; only random-N needs `rng`."""
        out = np.empty(self.shape, np.uint8)
        height, width = image.shape[:2]
        self.apply(image, self.draw(height, width, rng), rng or np.random.default_rng(0), out)
        return [part[0].numpy() for part in self.split(torch.from_numpy(out)[None])]

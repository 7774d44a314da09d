"""Mixup and CutMix: each part of a batch mixed with itself in reverse order.

The draws are a function of (seed, step). (timm's Mixup draws from numpy's global generator, and refuses odd
batches.) Mixing and normalising are both linear, so pixels are mixed first: a teacher then sees the very same images
through a normalisation of its own.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from timm.data.mixup import mixup_target

from corolla.config import TrainConfig
from corolla.data.loader import Batch
from corolla.random import mixing_generator


@dataclass(frozen=True)
class Mix:
    """The mixing of a step's images with their partners."""

    share: float
    """Weight of each image's own label, in [0, 1]; in mixup of its own pixels too."""
    box: tuple[slice, slice] | None = None
    """Rows and columns that come from the partner (CutMix); None: mixup."""

    def images(self, images: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
        """Return N x H x W x 3 of two batches N x H x W x 3 uint8, in the same range; float32 after mixup."""
        if self.box is None:
            return torch.lerp(partners.float(), images.float(), self.share)
        mixed = images.clone()
        rows, columns = self.box
        mixed[:, rows, columns] = partners[:, rows, columns]
        return mixed

    def targets(self, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
        """Return N x classes probabilities, float32, of the N labels of a part."""
        return mixup_target(labels, num_classes, self.share)


def mixed_parts(
    batch: Batch, mix: Mix | None, sizes: Collection[int], num_classes: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the images of each part of a batch, of which `sizes` are the numbers of images, and their targets.

    Targets are labels, or N x classes probabilities where images are mixed. All parts of a step are mixed by the same
    share or box; partners are those of the part: position p of N has N - 1 - p, as in timm. So a process that has one
    part needs none of the others.
    """
    for images, labels in zip(batch.images.split(list(sizes)), batch.labels.split(list(sizes)), strict=True):
        if mix is None:
            yield images, labels
        else:
            yield mix.images(images, images.flip(0)), mix.targets(labels, num_classes)


def draw_mix(config: TrainConfig, step: int, epoch: int, height: int, width: int) -> Mix | None:
    """Draw how images of `height` x `width` are mixed at a step of an epoch (both from 0); None: not at all."""
    if not (config.mixup or config.cutmix) or epoch >= config.epochs - config.mix_off_epochs:
        return None
    rng = mixing_generator(config.seed, step)
    if rng.random() >= config.mix_share:
        return None
    use_cutmix = bool(config.cutmix) and (not config.mixup or rng.random() < 0.5)
    alpha = config.cutmix if use_cutmix else config.mixup
    share = float(rng.beta(alpha, alpha))
    return cutmix_of(share, height, width, rng) if use_cutmix else Mix(share)


def cutmix_of(share: float, height: int, width: int, rng: np.random.Generator) -> Mix:
    """Return a box of 1 - `share` of the area and the image's aspect, its centre anywhere (Yun et al. 2019, §3.1).

    What of it falls outside is cut off, and the labels' share follows.
    """
    side = np.sqrt(1 - share)
    rows, columns = (_around(int(rng.integers(n)), int(n * side), n) for n in (height, width))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(1 - area / (height * width), (rows, columns))


def _around(centre: int, length: int, limit: int) -> slice:
    return slice(max(0, centre - length // 2), min(limit, centre + (length + 1) // 2))

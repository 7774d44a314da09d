"""The transform of training for whole batches of photos that lie on a device, by torch.

It crops, resizes, mirrors, changes colours and erases as TrainTransform does, from the same draws, and step by step in
the whole numbers in which OpenCV computes: its halving by averages, and its interpolation, whose weights are multiples
of 2^-11. So its pixels are those of TrainTransform, but for a grey level here and there (colours: two), and the same on
any device and in any batch.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch

from corolla.data.decode import Interpolation
from corolla.data.photos_on_device import PhotosOnDevice
from corolla.data.transforms.recipes import (
    BOX,
    CHANGES,
    CONTRAST,
    FACTORS,
    MIRRORED,
    NUMBER,
    PAINTED,
    SATURATION,
    Extent,
    whole_numbers,
)
from corolla.data.transforms.train import TrainTransform

AT_ONCE = 2**23
"""Pixels that are cropped or made at once; each takes some 50 bytes."""
GREY = (9798, 19235, 3735)
"""Parts of 32768 that red, green and blue have in a grey level (ITU-R BT.601), as OpenCV rounds them."""
CUBIC = -0.75  # OpenCV's parameter of the cubic of Keys 1981
ONE = 2048
"""A weight of 1 (OpenCV's INTER_RESIZE_COEF_SCALE)."""

Tap = tuple[torch.Tensor, torch.Tensor]
"""Along a side of a crop, for each pixel of the resized one: a pixel that it is made of, and its weight (N x S)."""


def transform_batch(
    photos: PhotosOnDevice, recipes: torch.Tensor, transform: TrainTransform, extent: Extent
) -> torch.Tensor:
    """Return N x S x S x 3 uint8 of N recipes, on their device, without waiting for it.

    Args:
        transform: that of the epoch, to S x S.
        extent: of the recipes' crops.
    """
    num_at_once = max(1, AT_ONCE // max(transform.size**2, extent.height * extent.width if extent.halvings else 0))
    parts = [_transformed(photos, part, transform, extent) for part in recipes.split(num_at_once)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _transformed(
    photos: PhotosOnDevice, recipes: torch.Tensor, transform: TrainTransform, extent: Extent
) -> torch.Tensor:
    images = _resized(photos, recipes, transform.size, transform.interpolation, extent)
    if transform.config.color:
        changed = images.float()
        for place in range(CHANGES.start, CHANGES.stop):
            factors = recipes[:, place + FACTORS.start - CHANGES.start]
            changed = _changed(changed, recipes[:, place].view(-1, 1, 1, 1), factors.view(-1, 1, 1, 1))
        images = changed
    images = images.to(torch.uint8)
    switched_on = transform.config.erase, transform.config.cutout
    for place, is_on in zip(PAINTED, switched_on, strict=True):
        if is_on:
            _paint(images, whole_numbers(recipes, place), transform.mean)
    return images


def _resized(
    photos: PhotosOnDevice, recipes: torch.Tensor, size: int, interpolation: Interpolation, extent: Extent
) -> torch.Tensor:
    """Return the crops, resized and mirrored: N x S x S x 3, whole numbers in [0, 255]."""
    number = recipes[:, NUMBER].long()
    left, top, width, height = whole_numbers(recipes, BOX)
    pixels, stride = photos.pixels, photos.width[number]
    start = photos.start[number] + top * stride + left
    if extent.halvings:
        crops = photos.windows(number, top, left, extent.height, extent.width)
        pixels, height, width = _halved(crops, height, width, size, extent.halvings)
        stride = torch.full_like(width, pixels.shape[2])
        start = torch.arange(len(number), device=number.device) * (pixels.shape[1] * pixels.shape[2])
        pixels = pixels.view(-1, 3)
    rows = taps(height, size, interpolation, ends_whole=False)
    columns = taps(width, size, interpolation, ends_whole=True)
    is_mirrored = recipes[:, MIRRORED].view(-1, 1) > 0
    columns = [tuple(torch.where(is_mirrored, each.flip(1), each) for each in tap) for tap in columns]
    across = []
    for row, _ in rows:
        first = (start.view(-1, 1) + row * stride.view(-1, 1)).unsqueeze(2)
        parts = [pixels[first + at.unsqueeze(1)].int() * weight[:, None, :, None] for at, weight in columns]
        across.append(functools.reduce(torch.add, parts))
    weights = [weight[:, :, None, None] for _, weight in rows]
    if interpolation == "bilinear":  # in 16 bits, where the last ones are cut off
        upper, lower = (((part >> 4) * weight) >> 16 for part, weight in zip(across, weights, strict=True))
        return (upper + lower + 2) >> 2
    parts = [part.float() * (weight.float() / ONE**2) for part, weight in zip(across, weights, strict=True)]
    return functools.reduce(torch.add, parts).round().clamp(0, 255)


def _halved(
    crops: torch.Tensor, height: torch.Tensor, width: torch.Tensor, size: int, times: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Halve crops (N x H x W x 3) as long as half is enough.

    Returns:
        N x H x W x 3, at the beginnings of which they lie, and their sides.
    """
    rows, columns = crops.shape[1] // 2, crops.shape[2] // 2
    for _ in range(times):
        is_large = (height >= 2 * size) & (width >= 2 * size)
        fours = crops[:, : 2 * rows, : 2 * columns].reshape(len(crops), rows, 2, columns, 2, 3)
        halves = crops.clone()
        halves[:, :rows, :columns] = (fours.sum((2, 4), dtype=torch.int32) + 2 >> 2).to(torch.uint8)
        crops = torch.where(is_large.view(-1, 1, 1, 1), halves, crops)
        height, width = (torch.where(is_large, side >> 1, side) for side in (height, width))
    return crops, height, width


def taps(length: torch.Tensor, size: int, interpolation: Interpolation, *, ends_whole: bool) -> Sequence[Tap]:
    """Return what the pixels of resized crops are made of along one side, as OpenCV chooses and weighs it.

    Args:
        length: the side of each crop in pixels (N).
        ends_whole: beyond the middle of an outermost pixel that one alone counts, as OpenCV has it along a row; down a
            column it counts twice there, each time with a share, which differs by what is cut off.
    """
    precise = torch.float32 if length.device.type == "mps" else torch.float64  # Apple's GPUs have no doubles
    target = torch.arange(size, device=length.device, dtype=precise) + 0.5
    target = (target * (length.to(precise) / size).view(-1, 1) - 0.5).float()
    first, last = target.floor(), (length - 1).view(-1, 1)
    beyond = target - first
    if interpolation == "bilinear":
        beyond = beyond.masked_fill((first < 0) | (first >= last), 0.0) if ends_whole else beyond
        weights = [1 - beyond, beyond]
    else:
        weights = [_cubic(beyond + 1), _cubic(beyond), _cubic(1 - beyond)]
        weights.append(1 - weights[0] - weights[1] - weights[2])
        first = first - 1
    at = [torch.minimum((first.long() + step).clamp(min=0), last) for step in range(len(weights))]
    return [(index, (weight * ONE).round().int()) for index, weight in zip(at, weights, strict=True)]


def _cubic(x: torch.Tensor) -> torch.Tensor:
    """Return the weight of a pixel at a distance in [0, 2] (Keys 1981, equation 4 with another parameter)."""
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    return torch.where(x <= 1, near, far)


def _changed(images: torch.Tensor, change: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return images after one change of colour each: moved away from, or towards, black, their mean grey or their grey.

    albumentations' first two of these cut what is below a whole number off, its saturation rounds.
    """
    red, green, blue = images.split(1, 3)
    grey = ((GREY[0] * red + GREY[1] * green + GREY[2] * blue + 16384) / 32768).floor()
    mean = grey.long().sum((1, 2, 3), keepdim=True).float() / grey[0].numel()
    away_from = torch.where(change == SATURATION, grey, mean * (change == CONTRAST))
    changed = torch.where(change <= SATURATION, images * factor + away_from * (1 - factor), images)
    changed = torch.where(change == SATURATION, changed.round(), changed.floor())
    return changed.clamp(0, 255)


def _paint(images: torch.Tensor, box: Sequence[torch.Tensor], color: np.ndarray) -> None:
    """Paint a box of each image over, in place."""
    left, top, width, height = (each.view(-1, 1) for each in box)
    position = torch.arange(images.shape[1], device=images.device)
    rows, columns = (position >= top) & (position < top + height), (position >= left) & (position < left + width)
    inside = rows.unsqueeze(2) & columns.unsqueeze(1)
    for channel, level in enumerate(color.tolist()):
        images[..., channel].masked_fill_(inside, level)

"""Rows of numbers that say how each photo of a batch is cropped and changed: drawn by workers, carried out in batches.

Drawn they are as for a photo by itself, from the same generators in the same order; batched.py carries them out.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from corolla.data.dataset import Box
from corolla.data.transforms.erasing import Painted
from corolla.data.transforms.train import Decisions, TrainTransform

NUMBER, BOX, MIRRORED = 0, slice(1, 5), 5
PAINTED = slice(6, 10), slice(10, 14)
"""Boxes of random erasing and of cutout, in pixels of the output; of no width where nothing is painted."""
CHANGES, FACTORS = slice(14, 18), slice(18, 22)
"""The changes of colour in their order (BRIGHTNESS, ...), and the factor of each."""
LENGTH = 22
BYTES = LENGTH * 4
BRIGHTNESS, CONTRAST, SATURATION = 0, 1, 2  # as albumentations numbers them; hue, which is 3, is turned by 0
NONE: Box = (0, 0, 0, 0)


def write_recipe(
    row: NDArray[np.float32], number: int, box: Box, decided: Decisions, transform: TrainTransform
) -> None:
    """Write the recipe of photo `number` into `row`, of LENGTH (float32, which is exact up to 16 million)."""
    row[NUMBER], row[BOX], row[MIRRORED] = number, box, decided.is_mirrored
    for place, painted in zip(PAINTED, decided.painted, strict=True):
        row[place] = _box_of(painted)
    row[CHANGES], row[FACTORS] = BRIGHTNESS, 1
    if decided.color_seed is not None:
        jitter = transform.color_changes().transforms[0]
        jitter.set_random_seed(decided.color_seed)
        drawn = jitter.get_params()
        row[CHANGES] = drawn["order"]
        factors = drawn["brightness"], drawn["contrast"], drawn["saturation"], 1.0
        row[FACTORS] = [factors[change] for change in drawn["order"]]


def _box_of(painted: Painted | None) -> Box:
    return NONE if painted is None else painted[0]


class Extent(NamedTuple):
    """Sides of the largest crops of a batch, so that the device need not be asked."""

    height: int
    width: int
    halvings: int
    """How many times the crop that is largest for its shape is halved before it is interpolated."""


def extent_of(recipes: NDArray[np.float32], size: int) -> Extent:
    """Return the extent of a batch whose images will have `size` pixels a side.

    Each side is rounded up to 32, so that few sizes occur.
    """
    sides = recipes[:, BOX][:, 2:]
    width, height = (-(-int(side) // 32) * 32 for side in sides.max(0))
    return Extent(height, width, max(1, int(sides.min(1).max()) // size).bit_length() - 1)


def whole_numbers(recipes: torch.Tensor, place: slice) -> list[torch.Tensor]:
    """Return the columns in `place` of N recipes, as int64, each of shape N."""
    return list(recipes[:, place].long().unbind(1))
